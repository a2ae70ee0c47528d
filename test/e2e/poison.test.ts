import { beforeEach, describe, expect, it, vi } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { forThisTest, spawnService } from '../helpers/process.ts';
import { sqlBeside } from '../helpers/sql.ts';

const INNOCENT = 20;
const POISON = 'poison';
const ATTEMPTS = 4;

/** Ends at once, or in a moment. The message that kills its process is in the midst of the others. */
const deadly = `
  export const topic = 'a';
  export function handle({ message_id, payload }) {
    if (message_id === '${POISON}') process.kill(process.pid, 'SIGKILL');
    if (payload % 2 === 0) return new Promise(resolve => setTimeout(resolve, 20));
  }`;

describe('a message that kills its process', () => {
  let database: Scratch;
  beforeEach(async () => {
    database = await forThisTest(scratchDatabase('sqlite'));
    const service = await startApp('sqlite', { database, config: { MAX_ATTEMPTS: String(ATTEMPTS) } });
    for (let n = 0; n < INNOCENT; n += 1) {
      if (n === 7) await publish(service.send, POISON, n);
      await publish(service.send, `innocent-${n}`, n);
    }
    await service.close();
  });

  const publish = (
    send: (method: 'POST', path: string, body: unknown) => Promise<unknown>,
    message_id: string,
    payload: number,
  ) => send('POST', '/outbox', { topic: 'a', payload, message_id, message_key: `key of ${message_id}` });

  /** Starts the service again and again, until it no longer dies; answers how often it has. */
  async function live(env: Record<string, string>, between: () => Promise<unknown>): Promise<number> {
    for (let deaths = 0; ; deaths += 1) {
      const service = spawnService(env);
      const settled = vi.waitFor(
        async () => {
          const { by_status } = (await service.send('GET', '/outbox/stats')).body;
          expect(by_status).toMatchObject({ pending: 0, processing: 0, failed: 0 });
        },
        { timeout: 60_000, interval: 20 },
      );
      // It is left behind by a service that dies, and fails the test of one that lives on without an end.
      settled.catch(() => {});
      const survived = await Promise.race([settled.then(() => true), service.exited.then(() => false)]);
      if (survived) {
        service.kill('SIGTERM');
        await service.exited;
        return deaths;
      }
      expect(await service.exited, service.output).toEqual({ code: null, signal: 'SIGKILL' });
      expect(deaths, 'it ends').toBeLessThan(10);
      await between();
    }
  }

  const statuses = async () => {
    const rows = await sqlBeside(
      database.url,
      `select message_id, status from deliveries join messages on number = message_number`,
    );
    return Object.fromEntries(rows.map(row => [row.message_id, row.status]));
  };
  const expected = () => ({
    ...Object.fromEntries(Array.from({ length: INNOCENT }, (_, n) => [`innocent-${n}`, 'sent'])),
    [POISON]: 'dead',
  });

  it.each([
    ['', async () => {}],
    [
      ', also if leases are over before the next process starts',
      () => sqlBeside(database.url, "update deliveries set claimable_at = 0 where status = 'processing'"),
    ],
  ])('takes none of those with it that are handled beside it%s', async (_, between) => {
    const HANDLERS_DIR = await handlersFolder({ 'a.mjs': deadly });
    const env = { DATABASE_URL: database.url, HANDLERS_DIR, MAX_ATTEMPTS: String(ATTEMPTS) };
    expect(await live(env, between)).toBe(ATTEMPTS);
    expect(await statuses()).toEqual(expected());
  });
});
