import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { buildApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import type { HandlerDefinition } from '../../src/worker/handler.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { Counter, gate, handler } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';
import { sqlBeside } from '../helpers/sql.ts';

const CONCURRENCY = 4;
const MESSAGES = 400;
/** Within what is claimed ahead of quick handlers. */
const HELD_FROM = 150;

describe.each(engines)('a worker that claims ahead on %s', engine => {
  const publish = (service: Pick<TestApp, 'send'>, payload: unknown) =>
    service.send('POST', '/outbox', { topic: 'a', payload });

  /** A database with messages that wait, each with its number. */
  const withBacklog = async (): Promise<Scratch> => {
    const database = await forThisTest(scratchDatabase(engine));
    const service = await startApp(engine, { database });
    await Promise.all([...Array(MESSAGES).keys()].map(n => publish(service, n)));
    await service.close();
    return database;
  };
  /** A worker that would not poll within the test: what it does, a commit has woken it for. */
  const settings = { ROLE: 'all', POLL_INTERVAL_MS: '60000', WORKER_CONCURRENCY: String(CONCURRENCY) };
  const start = async (database: Scratch, handlers: HandlerDefinition[], SHUTDOWN_GRACE_MS = '50') => {
    const config = { ...settings, SHUTDOWN_GRACE_MS };
    const service = await startApp(engine, { database, config, overrides: { handlers } });
    onTestFinished(service.close);
    return service;
  };
  const processing = async (service: TestApp): Promise<number> => {
    const { status, body } = await service.send('GET', '/outbox?status=processing&limit=200');
    expect(status).toBe(200);
    return body.items.length;
  };
  /** A handler that is quick until it has seen some messages, and from then on waits for the gate. */
  const quickThenHeld = (opened: Promise<void>) => {
    const held = new Counter<string>();
    let seen = 0;
    const turning = handler('a', received => {
      seen += 1;
      if (seen <= HELD_FROM) return undefined;
      held.add(received.message_id);
      return opened;
    });
    return { held, turning };
  };

  it('takes more than can run while handlers are quick, and never runs more at once than it may', async () => {
    const { open, passed } = gate();
    const handled = new Counter<unknown>();
    let running = 0;
    let most = 0;
    let holding = false;
    const service = await start(await withBacklog(), [
      handler('a', received => {
        holding ||= handled.seen.length + running >= HELD_FROM;
        if (!holding) return handled.add(received.payload);
        running += 1;
        most = Math.max(most, running);
        return passed.then(async () => {
          await new Promise(resolve => setImmediate(resolve));
          running -= 1;
          handled.add(received.payload);
        });
      }),
    ]);
    await expect.poll(() => running, { interval: 5 }).toBe(CONCURRENCY);
    await expect.poll(() => processing(service), { interval: 5 }).toBeGreaterThan(2 * CONCURRENCY);
    open();
    const seen = await handled.reach(MESSAGES);
    expect(seen.toSorted((a, b) => Number(a) - Number(b))).toEqual([...Array(MESSAGES).keys()]);
    expect(most).toBe(CONCURRENCY);
  });

  it('takes no more than can run while handlers take their time, however often it is woken', async () => {
    const { open, passed } = gate();
    const handled = new Counter<unknown>();
    const service = await start(await withBacklog(), [
      handler('a', async received => {
        handled.add(received.payload);
        await passed;
      }),
    ]);
    await handled.reach(CONCURRENCY);
    for (let n = 0; n < 20; n += 1) {
      await publish(service, n);
      expect(await processing(service)).toBe(CONCURRENCY);
    }
    expect(handled.seen).toHaveLength(CONCURRENCY);
    open();
    await handled.reach(MESSAGES + 20);
  });

  it('takes hardly more than can run while handlers that take a tenth of a second end one by one', async () => {
    const handled = new Counter<unknown>();
    const moment = (n: unknown) => new Promise(resolve => setTimeout(resolve, 60 + ((Number(n) * 37) % 80)));
    const service = await start(await withBacklog(), [
      handler('a', ({ payload }) => moment(payload).then(() => handled.add(payload))),
    ]);
    // What they begin within 20 ms is one message, and sometimes two.
    const seen: number[] = [];
    while (handled.seen.length < 10 * CONCURRENCY) {
      seen.push(await processing(service));
      await new Promise(resolve => setImmediate(resolve));
    }
    // On a busy machine several end in one turn, and count as quick.
    expect(Math.max(...seen)).toBeLessThanOrEqual(3 * CONCURRENCY);
  });

  it('gives back what has not begun as soon as it stops, as if it had never been taken', async () => {
    const database = await withBacklog();
    const { open, passed } = gate();
    const { held, turning } = quickThenHeld(passed);
    const service = await start(database, [turning], '60000');
    await held.reach(CONCURRENCY);
    await expect.poll(() => processing(service), { interval: 5 }).toBeGreaterThan(CONCURRENCY);
    const closing = service.close();
    // The handlers that run still have all of their grace.
    const rows = () =>
      sqlBeside(
        database.url,
        `select message_id, status, attempts, history from deliveries join messages on number = message_number order by position`,
      );
    const unsent = async () => (await rows()).filter(row => row.status !== 'sent');
    const running = async () => (await unsent()).filter(row => row.status === 'processing').map(row => row.message_id);
    await expect.poll(running, { interval: 5, timeout: 5000 }).toEqual(held.seen);
    const rest = (await unsent()).filter(row => row.status !== 'processing');
    expect(rest).toHaveLength(MESSAGES - HELD_FROM - CONCURRENCY);
    for (const row of rest) expect(row).toMatchObject({ status: 'pending', history: '[]' });
    expect(rest.filter(row => Number(row.attempts) !== 0)).toEqual([]);
    open();
    await closing;
    expect(held.seen).toHaveLength(CONCURRENCY);
    expect((await unsent()).map(row => row.status)).toEqual(rest.map(() => 'pending'));
  });

  it('says nothing of each of them', async () => {
    const database = await withBacklog();
    const { held, turning } = quickThenHeld(new Promise(() => {}));
    const lines: { level: number; msg: string }[] = [];
    const log = pino({ level: 'info' }, { write: line => lines.push(JSON.parse(line)) });
    const config = readConfig({ ...settings, DATABASE_URL: database.url, SHUTDOWN_GRACE_MS: '50' });
    const app = await buildApp(config, log, { handlers: [turning] });
    await app.ready();
    await held.reach(CONCURRENCY);
    await app.close();
    expect(lines.filter(({ level }) => level > 30)).toMatchObject([
      { msg: expect.stringMatching(/^The service has no tokens/) },
      { msg: 'releasing the leases of handlers that have not finished', count: CONCURRENCY },
    ]);
    const rows = await sqlBeside(database.url, `select attempts from deliveries where status = 'pending'`);
    expect(rows.map(row => Number(row.attempts))).toEqual(Array(MESSAGES - HELD_FROM).fill(0));
  });
});
