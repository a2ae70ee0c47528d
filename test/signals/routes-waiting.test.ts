import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { fresh, keyed } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { ask, ownRun, SOON_MS, settled, timed } from '../helpers/waits.ts';

const config = { POLL_INTERVAL_MS: '60000' };

describe.each(engines)('a signal that waits, on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine, { config });
  });
  afterAll(() => service.close());

  const request = (run_id: string) => signal('guidance_request', { run_id });
  const post = (run_id: string, query = 'wait=30') =>
    timed(service.send('POST', `/control-signals?${query}`, request(run_id)));
  /** The open question of a run, once there is one. */
  const opened = async (run_id: string): Promise<string> => {
    for (;;) {
      // The requests themselves would leave no turn to timers and sockets on SQLite.
      await new Promise(resolve => setImmediate(resolve));
      const [question] = (await service.send('GET', `/questions?run_id=${run_id}&state=open`)).body.items;
      if (question) return question.question_id;
    }
  };

  it('is answered as soon as its question is, with everything as it is then', async () => {
    const run_id = ownRun();
    const waiting = post(run_id);
    const id = await opened(run_id);
    await settled(service.send);
    await service.send('PUT', `/questions/${id}/answer`, { answer: 'Europe.' });
    const { took, status, headers, body } = await waiting;
    expect(took).toBeLessThan(SOON_MS);
    expect(status).toBe(201);
    expect(headers.location).toBe(`/control-signals/${body.signal.signal_id}`);
    expect(body).toMatchObject({
      signal: { question_id: id, question: 'Which region?' },
      question: { question_id: id, state: 'answered', answer: 'Europe.', version: 2 },
      inbox: { unread: 1 },
    });
    expect(body.question).toEqual((await service.send('GET', `/questions/${id}`)).body);
    expect(body.control).toEqual((await service.send('GET', `/control-threads/${run_id}/builder`)).body);
    expect(body.thread).toEqual((await service.send('GET', `/threads/${body.thread.thread_id}`)).body);
    expect(body.signal).toEqual((await service.send('GET', String(headers.location))).body);
  });

  it.each(['cancelled', 'superseded'])('is answered as soon as its question is %s', async state => {
    const run_id = ownRun();
    const waiting = post(run_id);
    const id = await opened(run_id);
    if (state === 'cancelled') await service.send('POST', `/questions/${id}/cancel`);
    else await service.send('POST', '/control-signals', signal('guidance_request', { run_id, supersedes: id }));
    const { took, status, body } = await waiting;
    expect(took).toBeLessThan(SOON_MS);
    expect({ status, state: body.question.state }).toEqual({ status: 201, state });
  });

  it('is answered at the end of the wait with its open question', async () => {
    const run_id = ownRun();
    const { took, status, body } = await post(run_id, 'wait=1');
    expect(took).toBeGreaterThan(990);
    expect(took).toBeLessThan(1000 + SOON_MS);
    expect({ status, state: body.question.state }).toEqual({ status: 201, state: 'open' });
    expect((await post(ownRun(), 'wait=0')).took).toBeLessThan(SOON_MS);
  });

  it('waits for nothing unless it asks', async () => {
    const { run_id } = await ask(service.send);
    for (const type of ['completion', 'validation', 'guidance_answer']) {
      const { took, status } = await timed(service.send('POST', '/control-signals?wait=30', signal(type, { run_id })));
      expect(status, type).toBe(201);
      expect(took, type).toBeLessThan(SOON_MS);
    }
    for (const query of ['wait=51', 'wait=-1', 'wait=soon', 'wait=1.5']) {
      const before = await dump(service.url);
      expectProblem(await post(ownRun(), query), 'VALIDATION_FAILED');
      expect(await dump(service.url)).toEqual(before);
    }
    const refused = await timed(
      service.send('POST', '/control-signals?wait=30', signal('guidance_request', { supersedes: 'q_0' })),
    );
    expectProblem(refused, 'QUESTION_NOT_FOUND');
    expect(refused.took).toBeLessThan(SOON_MS);
  });

  describe('under an idempotency key', () => {
    const sent = (key: string, run_id: string, wait = 30) =>
      timed(keyed(service, key, { url: `/control-signals?wait=${wait}`, body: request(run_id) }));

    it('is answered again with the bytes that came after the wait', async () => {
      const run_id = ownRun();
      const key = fresh();
      const waiting = sent(key, run_id);
      const id = await opened(run_id);
      await settled(service.send);
      await service.send('PUT', `/questions/${id}/answer`, { answer: 'x' });
      const { took: _, ...first } = await waiting;
      expect(JSON.parse(first.body).question.state).toBe('answered');
      expect(first).toMatchObject({ status: 201, replayed: false });
      // Whatever has become of it since.
      await service.send('POST', `/questions/${id}/acknowledge`);
      const before = await dump(service.url);
      for (const wait of [30, 0]) {
        const { took, ...again } = await sent(key, run_id, wait);
        expect(again).toEqual({ ...first, replayed: true });
        expect(took).toBeLessThan(SOON_MS);
      }
      expect(await dump(service.url)).toEqual(before);
    });

    it('is answered again with the open question, or with the answer if it waits again and there is one', async () => {
      const run_id = ownRun();
      const key = fresh();
      const { took: _, ...first } = await sent(key, run_id, 1);
      expect(JSON.parse(first.body).question.state).toBe('open');
      await service.send('PUT', `/questions/${await opened(run_id)}/answer`, { answer: 'x' });
      expect(await sent(key, run_id, 0)).toMatchObject({ ...first, replayed: true });
      const { took, ...again } = await sent(key, run_id);
      expect(JSON.parse(again.body).question).toMatchObject({ state: 'answered', answer: 'x' });
      expect(took).toBeLessThan(SOON_MS);
      // From then on without waiting, too.
      expect(await sent(key, run_id, 0)).toMatchObject({ body: again.body, replayed: true });
    });

    it('is answered alike to all who send it while it waits', async () => {
      const run_id = ownRun();
      const key = fresh();
      const waiting = Array.from({ length: 5 }, () => sent(key, run_id));
      const id = await opened(run_id);
      await settled(service.send);
      await service.send('PUT', `/questions/${id}/answer`, { answer: 'x' });
      const answers = await Promise.all(waiting);
      expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
      const states = answers.map(({ body }) => JSON.parse(body).question.state);
      expect(states).toEqual(states.map(() => 'answered'));
      expect(new Set(answers.map(({ body }) => body)).size).toBe(1);
    });
  });
});
