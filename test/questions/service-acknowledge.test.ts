import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { acts, runOf } from '../helpers/run-acts.ts';
import { signal } from '../helpers/signals.ts';

const RUNS = { sqlite: 60, postgres: 12 };
const ana = { type: 'human', name: 'ana' };

describe.each(engines)('acknowledging on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine, { overrides: { clock } });
  });
  afterAll(() => service.close());

  let runs = 0;
  const ask = async (run_id = `ack-${++runs}`, fields: object = {}) => {
    const { body } = await service.send('POST', '/control-signals', signal('guidance_request', { run_id, ...fields }));
    return { run_id, id: body.question.question_id as string, thread: `/threads/${body.thread.thread_id}` };
  };
  const acknowledge = (id: string, body?: object) => service.send('POST', `/questions/${id}/acknowledge`, body);
  const versions = async (run_id: string) => ({
    run: (await service.send('GET', `/runs/${run_id}`)).body.version,
    control: (await service.send('GET', `/control-threads/${run_id}/builder`)).body.version,
  });
  const unread = async (run_id: string) =>
    (await service.send('POST', '/control-signals', signal('completion', { run_id }))).body.inbox;

  it('is refused while the question is open, and of one that there is not', async () => {
    const { id } = await ask();
    const before = await dump(service.url);
    expectProblem(await acknowledge(id), 'QUESTION_OPEN');
    expectProblem(await acknowledge('q_0'), 'QUESTION_NOT_FOUND');
    expect(await dump(service.url)).toEqual(before);
  });

  it('of several questions at once has the times of its events, though the clock goes on in between', async () => {
    const { run_id, id } = await ask();
    const ids = [id, (await ask(run_id)).id, (await ask(run_id)).id];
    for (const one of ids) await service.send('PUT', `/questions/${one}/answer`, { answer: 'x' });
    const inbox = `/control-threads/${run_id}/builder/inbox`;
    const item_ids = (await service.send('GET', inbox)).body.items.map((item: { item_id: string }) => item.item_id);
    const ticking = vi.spyOn(clock, 'now').mockImplementation(() => clock.time++);
    onTestFinished(() => ticking.mockRestore());
    expect((await service.send('POST', `${inbox}/acknowledge`, { item_ids })).status).toBe(200);
    ticking.mockRestore();

    const { items } = (await service.send('GET', `/events?run_id=${run_id}&event_type=forum.question.acknowledged`))
      .body;
    const times = items.map((event: { occurred_at: string }) => event.occurred_at);
    expect(new Set(times).size).toBe(ids.length);
    const questions = await Promise.all(ids.map(one => service.send('GET', `/questions/${one}`)));
    expect(questions.map(({ body }) => body.acknowledged_at)).toEqual(times);
  });

  it.each([
    ['the asking agent, if nobody is named', undefined, { type: 'agent', name: 'builder' }],
    ['whoever is named', { actor: ana }, ana],
  ])('says once that the answer has arrived, as %s', async (_, body, actor) => {
    const { id, run_id, thread } = await ask();
    const { body: answered } = await service.send('PUT', `/questions/${id}/answer`, { answer: 'x' });
    const before = await versions(run_id);
    const { body: seen } = await service.send('GET', thread);
    clock.advance(1000);

    const first = await acknowledge(id, body);
    const acknowledged_at = new Date(clock.time).toISOString();
    expect(first).toMatchObject({ status: 200, body: { ...answered, acknowledged_at, version: 3 } });
    expect(first.headers.etag).toBe('"3"');
    expect((await service.send('GET', `/questions/${id}`)).body).toEqual(first.body);
    expect(await versions(run_id)).toEqual({ run: before.run + 1, control: before.control + 1 });
    const { items } = (await service.send('GET', `/events?run_id=${run_id}&after=${seen.last_sequence}`)).body;
    expect(items).toMatchObject([{ event_type: 'forum.question.acknowledged', actor, payload: { question_id: id } }]);
    expect(items[0]).toMatchObject({ run_id, agent_name: 'builder', occurred_at: acknowledged_at });
    // It moves nothing: the thread stays where the answer brought it.
    expect((await service.send('GET', thread)).body.state).toBe(seen.state);

    const stored = await dump(service.url);
    clock.advance(1000);
    expect((await acknowledge(id, { actor: ana })).body).toEqual(first.body);
    expect(await dump(service.url)).toEqual(stored);
  });

  it('is done once when many say it at the same moment', async () => {
    const { id, run_id } = await ask();
    await service.send('PUT', `/questions/${id}/answer`, { answer: 'x' });
    const answers = await Promise.all(Array.from({ length: 20 }, () => acknowledge(id)));
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    const query = `run_id=${run_id}&event_type=forum.question.acknowledged`;
    expect((await service.send('GET', `/events?${query}`)).body.items).toHaveLength(1);
    expect(await unread(run_id)).toEqual({ unread: 0 });
  });

  it('is possible on a closed thread and in a closed run', async () => {
    const { id, run_id, thread } = await ask();
    await service.send('PATCH', thread, { state: 'closed', actor: ana });
    expect((await acknowledge(id)).body).toMatchObject({ state: 'cancelled', acknowledged_at: expect.any(String) });
    expect((await service.send('GET', thread)).body.state).toBe('closed');
    expect((await service.send('GET', `/runs/${run_id}`)).body.open_questions).toEqual([]);

    const other = await ask();
    await service.send('PUT', `/questions/${other.id}/answer`, { answer: 'x' });
    for (const type of ['completion', 'validation']) {
      await service.send('POST', '/control-signals', signal(type, { run_id: other.run_id }));
    }
    expect((await service.send('POST', `/runs/${other.run_id}/close`)).body.status).toBe('closed');
    expect((await acknowledge(other.id)).status).toBe(200);
    expect((await service.send('GET', `/runs/${other.run_id}`)).body).toMatchObject({
      status: 'closed',
      gate: { ready: true },
    });
  });

  it('empties the inbox that every answer to a signal shows', async () => {
    const { id, run_id } = await ask();
    const second = await ask(run_id);
    const third = await ask(run_id, { supersedes: second.id });
    expect(await unread(run_id)).toEqual({ unread: 0 });
    const answer = await service.send(
      'POST',
      '/control-signals',
      signal('guidance_answer', { run_id, in_reply_to: id }),
    );
    expect(answer).toMatchObject({ status: 201, body: { inbox: { unread: 1 } } });
    await service.send('POST', `/questions/${third.id}/cancel`);
    expect(await unread(run_id)).toEqual({ unread: 2 });
    // The agent knows itself what it has superseded, so saying so takes nothing off.
    await acknowledge(second.id);
    expect(await unread(run_id)).toEqual({ unread: 2 });
    await acknowledge(id);
    const again = await service.send(
      'POST',
      '/control-signals',
      signal('guidance_answer', { run_id, in_reply_to: id }),
    );
    expect(again).toMatchObject({ status: 200, body: { inbox: { unread: 1 } } });
    await acknowledge(third.id);
    expect(await unread(run_id)).toEqual({ unread: 0 });
  });

  it('is asked for what has expired as well', async () => {
    const busy = await startApp(engine, { config: { ROLE: 'all', POLL_INTERVAL_MS: '20' }, overrides: { clock } });
    try {
      const run_id = 'expiring';
      const request = signal('guidance_request', { run_id, expires_in_seconds: 60 });
      const { question_id } = (await busy.send('POST', '/control-signals', request)).body.question;
      clock.advance(61_000);
      const state = async () => (await busy.send('GET', `/questions/${question_id}`)).body.state;
      await expect.poll(state, { interval: 10 }).toBe('expired');
      const completed = await busy.send('POST', '/control-signals', signal('completion', { run_id }));
      expect(completed.body.inbox).toEqual({ unread: 1 });
      expect((await busy.send('POST', `/questions/${question_id}/acknowledge`)).status).toBe(200);
      const validated = await busy.send('POST', '/control-signals', signal('validation', { run_id }));
      expect(validated.body.inbox).toEqual({ unread: 0 });
    } finally {
      await busy.close();
    }
  });

  it('leaves in the inbox what a naive count finds, whatever happens in a run', async () => {
    await fc.assert(
      fc.asyncProperty(acts, async history => {
        const run_id = `count-${++runs}`;
        const run = runOf(service.send, run_id);
        for (const act of history) {
          const { body } = await run.act(act);
          if (body.inbox === undefined) continue;
          const { agent_name } = body.control;
          const { items } = (
            await service.send('GET', `/questions?run_id=${run_id}&agent_name=${agent_name}&limit=200`)
          ).body;
          const waiting = items.filter(
            (question: { state: string; acknowledged_at: string | null }) =>
              ['answered', 'expired', 'cancelled'].includes(question.state) && question.acknowledged_at === null,
          );
          const { items: posts } = (await service.send('GET', `/threads/${body.control.thread_id}/posts?limit=200`))
            .body;
          const said = posts.filter(
            (post: { actor: { type: string }; control_type: string | null }) =>
              post.actor.type === 'human' && post.control_type === null,
          );
          expect(body.inbox).toEqual({ unread: waiting.length + said.length });
          const inbox = (await service.send('GET', `/control-threads/${run_id}/${agent_name}/inbox?limit=200`)).body;
          expect(inbox.items).toHaveLength(waiting.length + said.length);
        }
      }),
      { numRuns: RUNS[engine], seed: 11 },
    );
  });
});
