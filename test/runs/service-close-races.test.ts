import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, startApp, type TestApp } from '../helpers/app.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { aRun } from '../helpers/runs.ts';
import { afterTurns } from '../helpers/turns.ts';

const ROUNDS = 16;

type Run = ReturnType<typeof aRun>;

/** What must not happen to a closed run, and what a run that is closed answers to it. */
const rivals: [name: string, act: (run: Run) => Promise<Answer>, refusal: string][] = [
  ['a question', run => run.signal('guidance_request', 'builder'), 'RUN_CLOSED'],
  ['a failed validation', run => run.signal('validation', 'builder', { status: 'failed' }), 'RUN_CLOSED'],
  ['the first signal of another agent', run => run.signal('completion', 'newcomer'), 'RUN_CLOSED'],
  ['the next attempt', run => run.nextAttempt('builder'), 'RUN_CLOSED'],
  ['a brief that wants more', run => run.brief({ agents: ['absent'] }), 'RUN_CLOSED'],
];

describe.each(engines)('closes of a run, and what comes at the same moment, on %s', engine => {
  let scratch: Scratch;
  /** On PostgreSQL two services share the database, so that only it can keep them apart. */
  let services: TestApp[];
  let runs = 0;
  beforeAll(async () => {
    scratch = await scratchDatabase(engine);
    services = [await startApp(engine, { database: scratch })];
    if (engine === 'postgres') services.push(await startApp(engine, { database: scratch }));
  });
  afterAll(async () => {
    await Promise.all(services.map(service => service.close()));
    await scratch.drop();
  });

  /** A run that may be closed, as it is seen through the first service and through the last. */
  const finished = async (): Promise<{ here: Run; there: Run }> => {
    runs += 1;
    const [here, there] = [services[0], services.at(-1)].map(service =>
      aRun((service as TestApp).send, `run-${runs}`),
    ) as [Run, Run];
    for (const agent of ['builder', 'tester']) await here.finish(agent);
    return { here, there };
  };

  it('are one close', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const { here, there } = await finished();
      const { version } = await here.snapshot();
      const answers = await Promise.all([here.close(), there.close(), here.close(), there.close()]);
      for (const { status, body } of answers) expect({ status, body }).toEqual({ status: 200, body: answers[0]?.body });
      expect(answers[0]?.body).toMatchObject({ status: 'closed', version: version + 1 });
      expect(await here.events('forum.run.closed')).toHaveLength(1);
      expect(await here.events('forum.thread.closed')).toHaveLength(2);
    }
  });

  it.each(rivals)('either come before %s, or do not come', async (_name, act, refusal) => {
    const winners = new Set<string>();
    for (let round = 0; round < ROUNDS; round += 1) {
      const { here, there } = await finished();
      const [close, rival] = await Promise.all([
        afterTurns(2 * (round % 4), () => here.close()),
        afterTurns(6 - 2 * (round % 4), () => act(there)),
      ]);
      const codes = [close.body.code ?? 'done', rival.body.code ?? 'done'];
      const closed = close.status === 200;
      expect(codes).toEqual(closed ? ['done', refusal] : ['GATE_BLOCKED', 'done']);
      winners.add(closed ? 'close' : 'rival');

      const run = await here.snapshot();
      expect(run).toMatchObject({ status: closed ? 'closed' : expect.not.stringMatching('closed') });
      expect(await here.row()).toMatchObject({ status: run.status, open_questions_count: run.open_questions.length });
      if (!closed) continue;
      expect(run.open_questions).toEqual([]);
      const events = await here.events();
      const after = events.slice(events.findIndex(({ event_type }) => event_type === 'forum.run.closed') + 1);
      const end = ['forum.state.changed', 'forum.thread.closed'];
      expect(after.map(({ event_type }) => event_type)).toEqual([...end, ...end]);
    }
    expect([...winners].sort(), 'rounds that tell nothing').toEqual(['close', 'rival']);
  });
});
