import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Stats } from '../../src/stats/schemas.ts';
import { type Answer, startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { ownLists } from '../helpers/lists.ts';
import { agent, conversation, operator, priorities, states } from '../helpers/threads.ts';

/** One thing that somebody does, or tries to. */
type Act = (client: Client) => Promise<Answer>;
type Client = ReturnType<typeof clientOf>;

function clientOf(send: TestApp['send']) {
  const { walk } = ownLists(send);
  return { send, ...conversation(send), all: async (path: string) => (await walk(path, 200)).flat() };
}

/** Any act of anybody; what it acts on is chosen when it happens, from what there is. */
const names = { run_id: fc.nat(19).map(run => `run-${run}`), agent_name: fc.constantFrom('builder', 'tester') };
const ticket = fc.option(fc.constantFrom('T-1', 'T-2', 'T-3'), { nil: undefined });
const anyAct: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.constantFrom('guidance_request', 'guidance_request', 'guidance_answer', 'completion', 'validation'),
        fc.record({ ...names, ticket }),
      )
      .map(
        ([type, fields]): Act =>
          ({ signal }) =>
            signal(type, fields),
      ),
  },
  fc
    .record({
      ticket,
      run_id: fc.option(names.run_id, { nil: undefined }),
      priority: fc.constantFrom(...priorities),
    })
    .map(
      (fields): Act =>
        ({ send }) =>
          send('POST', '/threads', { title: 'A', body: 'B', actor: agent, ...fields }),
    ),
  fc
    .tuple(
      fc.nat(99),
      fc.constantFrom(...states),
      fc.constantFrom(undefined, ...priorities),
      fc.constantFrom('post', 'change'),
    )
    .map(
      ([which, state, priority, how]): Act =>
        async ({ all, post, change }) => {
          const threads = await all('/threads?');
          const id = String(threads[which % threads.length]?.thread_id);
          return how === 'post' ? post(id, { state }) : change(id, { state, priority });
        },
    ),
  fc.tuple(fc.nat(99), fc.constantFrom('answer', 'cancel')).map(
    ([which, how]): Act =>
      async ({ all, send }) => {
        const questions = await all('/questions?');
        const path = `/questions/${questions[which % questions.length]?.question_id}/${how}`;
        return how === 'answer' ? send('PUT', path, { answer: `Number ${which}.` }) : send('POST', path);
      },
  ),
  fc.record(names).map(
    ({ run_id, agent_name }): Act =>
      ({ send }) =>
        send('POST', `/control-threads/${run_id}/${agent_name}/attempts`),
  ),
);

function tally(values: unknown[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) if (value !== null) counts[String(value)] = (counts[String(value)] ?? 0) + 1;
  return counts;
}

/** Largest first, as it is answered; which of equals comes first does not matter. */
function asTally(rows: { count: number }[], name: string): Record<string, number> {
  for (const [index, { count }] of rows.entries()) expect(count).toBeLessThanOrEqual(rows[index - 1]?.count ?? count);
  return Object.fromEntries(rows.map(row => [(row as unknown as Record<string, string>)[name], row.count]));
}

describe.each(engines)('the statistics on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine, { overrides: { clock } });
  });
  afterAll(() => service.close());

  const client = clientOf((...request) => service.send(...request));
  const { all, change, open, post, send, signal } = client;
  const read = async (): Promise<Stats> => {
    const { status, body } = await send('GET', '/stats');
    expect(status).toBe(200);
    return body;
  };

  /** What is answered is what there is, by the lists that show everything. */
  async function expectToCountEverything(): Promise<Stats> {
    const stats = await read();
    const threads = await all('/threads?');
    const asked = (await all('/questions?state=open')).map(question => String(question.asked_at)).sort();
    const signals = await all('/events?event_type=forum.control.signal');
    const { by_ticket, by_run, ...totals } = stats.threads;
    const oldest = asked[0] ?? null;
    expect({ ...stats, threads: totals }).toEqual({
      threads: {
        total: threads.length,
        by_state: tally(threads.map(({ state }) => state)),
        by_priority: tally(threads.map(({ priority }) => priority)),
      },
      open_questions: {
        count: asked.length,
        oldest_asked_at: oldest,
        oldest_age_seconds: oldest && (clock.now() - Date.parse(oldest)) / 1000,
      },
      signals: {
        total: signals.length,
        by_type: tally(signals.map(({ payload }) => (payload as { control_type: string }).control_type)),
      },
    });
    expect(asTally(by_ticket, 'ticket')).toEqual(tally(threads.map(thread => thread.ticket)));
    expect(asTally(by_run, 'run_id')).toEqual(tally(threads.map(({ run_id }) => run_id)));
    return stats;
  }

  it('are all zero and empty before anything has happened', async () => {
    expect(await expectToCountEverything()).toEqual({
      threads: { total: 0, by_state: {}, by_priority: {}, by_ticket: [], by_run: [] },
      open_questions: { count: 0, oldest_asked_at: null, oldest_age_seconds: null },
      signals: { total: 0, by_type: {} },
    });
  });

  it('say for how long the oldest open question has waited', async () => {
    const ask = async () => (await signal('guidance_request', { agent_name: 'asker' })).body.question.question_id;
    const backlog = async () => (await read()).open_questions;
    const first = await ask();
    const asked = new Date(clock.now()).toISOString();
    expect(await backlog()).toEqual({ count: 1, oldest_asked_at: asked, oldest_age_seconds: 0 });
    clock.advance(90_500);
    const second = await ask();
    expect(await backlog()).toEqual({ count: 2, oldest_asked_at: asked, oldest_age_seconds: 90.5 });
    clock.advance(1);
    expect((await backlog()).oldest_age_seconds).toBe(90.501);
    await send('PUT', `/questions/${first}/answer`, { answer: 'Yes.' });
    expect(await backlog()).toMatchObject({ count: 1, oldest_age_seconds: 0.001 });
    // A clock that is set back makes no negative age.
    clock.advance(-5_000);
    expect(await backlog()).toMatchObject({ count: 1, oldest_age_seconds: 0 });
    clock.advance(5_000);
    await send('POST', `/questions/${second}/cancel`);
    expect(await backlog()).toEqual({ count: 0, oldest_asked_at: null, oldest_age_seconds: null });
  });

  it('count what there is, whatever has happened', async () => {
    const history = fc.array(fc.tuple(anyAct, fc.nat(100_000)), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(history, async acts => {
        for (const [act, pause] of acts) {
          expect((await act(client)).status).toBeLessThan(500);
          clock.advance(pause);
        }
        await expectToCountEverything();
      }),
      { numRuns: 25 },
    );
  });

  it('count what is written at the same time, through every process', async () => {
    const others = engine === 'postgres' ? [await startOther(), await startOther()] : [];
    const clients = [client, ...others.map(other => clientOf((...request) => other.send(...request)))];
    const acts = fc.sample(anyAct, { numRuns: 120, seed: 7 });
    const answers = await Promise.all(acts.map((act, index) => act(clients[index % clients.length] as Client)));
    for (const { status, body } of answers) expect(status, JSON.stringify(body)).toBeLessThan(500);
    await expectToCountEverything();
    await Promise.all(others.map(other => other.close()));
  });

  const startOther = () =>
    startApp(engine, { database: { url: service.url, drop: async () => {} }, overrides: { clock } });

  it('count nothing that was refused, and nothing twice', async () => {
    const { thread_id } = await open({ thread_id: 'counted', ticket: 'T-1' });
    const fields = { run_id: 'counted', agent_name: 'closed' };
    await signal('completion', fields);
    const { question } = (await signal('guidance_request', { ...fields, agent_name: 'open' })).body;
    const path = `/questions/${question.question_id}`;
    await send('PUT', `${path}/answer`, { answer: 'Yes.' });
    await change((await send('GET', `/control-threads/counted/closed`)).body.thread_id, { state: 'closed' });
    const before = await read();
    const repeated = [
      await send('POST', '/threads', { title: 'Region', body: 'Which one?', actor: agent, thread_id, ticket: 'T-1' }),
      await send('PUT', `${path}/answer`, { answer: 'Yes.' }),
      await change(thread_id, { state: 'new', priority: 'normal' }),
    ];
    expect(repeated.map(({ status }) => status)).toEqual([200, 200, 200]);
    const refused = [
      await send('POST', '/threads', { title: 'Region', body: 'Other.', actor: agent, thread_id, ticket: 'T-1' }),
      await send('POST', '/threads', { title: ' ', body: 'Blank.', actor: agent, ticket: 'T-1' }),
      await send('POST', '/threads', { title: 'A', body: 'B', actor: agent, thread_id: 'fctrl-x', ticket: 'T-1' }),
      await post('nowhere', { state: 'closed' }),
      await change(thread_id, { state: 'triaged', priority: 'urgent' }, { 'if-match': '"999"' }),
      await change(thread_id, { state: 'nowhere' }),
      await signal('completion', fields),
      await signal('completion', { ...fields, agent_name: 'open', attempt: 7 }),
      await signal('guidance_answer', { ...fields, agent_name: 'open' }),
      await signal('guidance_answer', { ...fields, agent_name: 'open', in_reply_to: question.question_id }),
      await signal('guidance_request', { ...fields, agent_name: 'new', supersedes: question.question_id }),
      await signal('validation', { ...fields, agent_name: 'new', status: 'unsure' }),
      await send('PUT', `${path}/answer`, { answer: 'No.' }),
      await send('POST', `${path}/cancel`, { actor: operator }),
    ];
    for (const { status, body } of refused) expect(status, JSON.stringify(body)).toBeGreaterThanOrEqual(400);
    expect(await read()).toEqual(before);
    await expectToCountEverything();
  });

  it('list the 50 tickets and the 50 runs that have the most threads', async () => {
    for (let index = 0; index < 56; index += 1) {
      // The last three are the largest, so that the first are not just those that came first.
      for (let more = 0; more < (index < 53 ? 1 : 40); more += 1) {
        await open({ ticket: `most-${index}`, run_id: `most-${index}` });
      }
    }
    const { by_ticket, by_run } = (await read()).threads;
    for (const [rows, name] of [
      [by_ticket, 'ticket'],
      [by_run, 'run_id'],
    ] as const) {
      expect(rows).toHaveLength(50);
      expect(asTally(rows, name)).toMatchObject({ 'most-53': 40, 'most-54': 40, 'most-55': 40 });
    }
  });
});
