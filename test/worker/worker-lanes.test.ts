import { describe, expect, it, onTestFinished } from 'vitest';
import type { HandlerDefinition } from '../../src/worker/handler.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { Counter, gate, handler } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';
import { scrapeOf } from '../helpers/scrape.ts';
import { sqlBeside } from '../helpers/sql.ts';

const MESSAGES = 100;

describe.each(engines)('a worker on long lanes on %s', engine => {
  /** A worker that does not poll within the test. */
  const start = async (database: Scratch, handlers: HandlerDefinition[], config = {}) => {
    const settings = { ROLE: 'all', POLL_INTERVAL_MS: '60000', ...config };
    const service = await startApp(engine, { database, config: settings, overrides: { handlers } });
    onTestFinished(service.close);
    return service;
  };
  const publish = async (service: Pick<TestApp, 'send'>, message_key: string, payload: unknown) => {
    const { status } = await service.send('POST', '/outbox', { topic: 'a', message_key, payload });
    expect(status).toBe(201);
  };
  /** A database with messages of these keys, as many of each. */
  const withLanes = async (keys: string[]): Promise<Scratch> => {
    const database = await forThisTest(scratchDatabase(engine));
    const service = await startApp(engine, { database });
    for (let n = 0; n < MESSAGES; n += 1) for (const key of keys) await publish(service, key, `${key}${n}`);
    await service.close();
    return database;
  };
  const inOrder = (key: string) => Array.from({ length: MESSAGES }, (_, n) => `${key}${n}`);
  /** Of all messages, with their attempts. */
  const statuses = async (database: Scratch) => {
    const rows = await sqlBeside(database.url, 'select distinct status, attempts from deliveries');
    return rows.map(({ status, attempts }) => `${status} ${attempts}`);
  };

  it('stores the end of one and the claim of the next in one transaction', async () => {
    const database = await withLanes(['k']);
    const handled = new Counter<unknown>();
    const service = await start(database, [handler('a', async ({ payload }) => handled.add(payload))]);
    expect(await handled.reach(MESSAGES)).toEqual(inOrder('k'));
    const counts = async () => (await service.send('GET', '/outbox/stats')).body.by_status;
    await expect.poll(counts, { interval: 10 }).toMatchObject({ sent: MESSAGES, processing: 0 });
    expect((await scrapeOf(service)).value('forumbus_db_transaction_works_count', {})).toBeLessThan(1.5 * MESSAGES);
    expect(await statuses(database)).toEqual(['sent 1']);
  });

  it('begins others before a long one has ended, with one slot for all', async () => {
    const database = await withLanes(['k', 'l']);
    const handled = new Counter<unknown>();
    const { open, passed } = gate();
    const slow = handler('a', async ({ payload }) => {
      handled.add(payload);
      await passed;
    });
    await start(database, [slow], { WORKER_CONCURRENCY: '1' });
    await handled.reach(1);
    open();
    await handled.reach(2 * MESSAGES);
    // Neither lane has to be empty before the other one begins.
    for (const key of ['k', 'l']) expect(handled.seen.indexOf(`${key}0`)).toBeLessThan(MESSAGES / 2);
    for (const key of ['k', 'l']) {
      expect(handled.seen.filter(payload => String(payload).startsWith(key))).toEqual(inOrder(key));
    }
  });

  it('goes behind one that fails, and waits until it is due again', async () => {
    const database = await withLanes(['k']);
    const handled = new Counter<unknown>();
    const failing = handler('a', async ({ payload }, { attempt }) => {
      handled.add(payload);
      if (payload === 'k3' && attempt === 1) throw new Error('not yet');
    });
    const service = await start(database, [failing], {
      BACKOFF_BASE_MS: '1',
      BACKOFF_CAP_MS: '1',
      POLL_INTERVAL_MS: '20',
    });
    await handled.reach(MESSAGES + 1);
    await service.close();
    expect(handled.seen).toEqual(['k0', 'k1', 'k2', 'k3', ...inOrder('k').slice(3)]);
  });

  it('stops before the topic that is paused meanwhile, and goes on when it is resumed', async () => {
    const database = await withLanes(['k']);
    const { open, passed } = gate();
    const handled = new Counter<unknown>();
    const held = handler('a', async ({ payload }) => {
      handled.add(payload);
      if (payload === 'k2') await passed;
    });
    const service = await start(database, [held]);
    await handled.reach(3);
    expect((await service.send('POST', '/bus/topics/a/pause')).status).toBe(200);
    open();
    await expect
      .poll(async () => (await service.send('GET', '/outbox/stats')).body.by_status, { interval: 10 })
      .toMatchObject({ sent: 3, processing: 0 });
    expect(handled.seen).toHaveLength(3);
    expect((await service.send('POST', '/bus/topics/a/resume')).status).toBe(200);
    expect(await handled.reach(MESSAGES)).toEqual(inOrder('k'));
  });

  it('leaves nothing claimed when it stops in the middle', async () => {
    const keys = ['k', 'l', 'm', 'n'];
    const database = await withLanes(keys);
    const handled = new Counter<unknown>();
    const quick = handler('a', async ({ payload }) => handled.add(payload));
    const service = await start(database, [quick]);
    await handled.reach(20);
    await service.close();
    const left = await statuses(database);
    expect(left.sort()).toEqual(['pending 0', 'sent 1']);
    await start(database, [quick]);
    await handled.reach(keys.length * MESSAGES);
    for (const key of keys) {
      expect(handled.seen.filter(payload => String(payload).startsWith(key))).toEqual(inOrder(key));
    }
  });
});
