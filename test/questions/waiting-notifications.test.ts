import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { forThisTest } from '../helpers/process.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { ask, settled, timed } from '../helpers/waits.ts';

/** A waiter that nobody tells anything ends after this. Seconds. */
const WAIT_S = 50;
/** One that was told ends before. Nothing else of these tests depends on how busy the machine is. Milliseconds. */
const TOLD_MS = WAIT_S * 1000 - 1000;
/** What is promised on an idle machine. Milliseconds. */
const HEARD_MS = 250;
/** So many answers have to be heard that soon; a busy machine takes more rounds for them. */
const PROMPT = 20;

const mine = `datname = current_database() and application_name = 'forumbus standing'`;

/* One service waits, another one on the same PostgreSQL answers. */
describe('a waiter whose question another process answers', () => {
  let database: Scratch;
  beforeEach(async () => {
    database = await forThisTest(scratchDatabase('postgres'));
  });
  const start = async (pollMs: string): Promise<TestApp> => {
    const app = await startApp('postgres', { database, config: { POLL_INTERVAL_MS: pollMs } });
    onTestFinished(() => app.close());
    return app;
  };
  /** The time from the answer, once it is stored, to the waiter. */
  const heardAfter = async (waiter: TestApp, answerer: TestApp): Promise<number> => {
    const { question_id } = await ask(answerer.send);
    const waiting = timed(waiter.send('GET', `/questions/${question_id}?wait=${WAIT_S}`)).then(told => ({
      ...told,
      at: performance.now(),
    }));
    await settled(waiter.send);
    expect((await answerer.send('PUT', `/questions/${question_id}/answer`, { answer: 'x' })).status).toBe(200);
    const answered = performance.now();
    const { body, at } = await waiting;
    expect(body.state).toBe('answered');
    return at - answered;
  };
  const standing = async (): Promise<number[]> =>
    (await sqlBeside(database.url, `select pid from pg_stat_activity where ${mine}`)).map(({ pid }) => Number(pid));
  const cut = () => sqlBeside(database.url, `select pg_terminate_backend(pid) from pg_stat_activity where ${mine}`);

  it('is told by a notification', async () => {
    const [one, other] = [await start('60000'), await start('60000')];
    for (let prompt = 0, round = 0; prompt < PROMPT; round += 1) {
      const took = round % 2 === 0 ? await heardAfter(one, other) : await heardAfter(other, one);
      expect(took).toBeLessThan(TOLD_MS);
      if (took < HEARD_MS) prompt += 1;
    }
  });

  it('finds out by itself while notifications do not get through', async () => {
    const [one, other] = [await start('500'), await start('500')];
    let cutting = true;
    const cutter = (async () => {
      while (cutting) await cut();
    })();
    try {
      for (let round = 0; round < 5; round += 1) expect(await heardAfter(one, other)).toBeLessThan(TOLD_MS);
    } finally {
      cutting = false;
      await cutter;
    }
  });

  it('is told by notifications again as soon as the connection is back', async () => {
    const [one, other] = [await start('60000'), await start('60000')];
    const before = await standing();
    expect(before).toHaveLength(2);
    for (let round = 0; round < 3; round += 1) {
      await cut();
      await vi.waitFor(
        async () => {
          const now = await standing();
          expect(now).toHaveLength(2);
          expect(now.filter(pid => before.includes(pid))).toEqual([]);
        },
        { timeout: 120_000, interval: 50 },
      );
      before.push(...(await standing()));
      expect(await heardAfter(one, other)).toBeLessThan(TOLD_MS);
      expect(await heardAfter(other, one)).toBeLessThan(TOLD_MS);
    }
  });

  it('learns from the new connection what was said while there was none', async () => {
    const [one, other] = [await start('60000'), await start('60000')];
    const { question_id } = await ask(other.send);
    const waiting = timed(one.send('GET', `/questions/${question_id}?wait=${WAIT_S}`));
    await settled(one.send);
    await cut();
    await other.send('PUT', `/questions/${question_id}/answer`, { answer: 'x' });
    const { took, body } = await waiting;
    expect(body.state).toBe('answered');
    expect(took).toBeLessThan(TOLD_MS);
  });
});
