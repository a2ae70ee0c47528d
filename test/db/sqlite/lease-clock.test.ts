import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../../helpers/app.ts';
import { engines, scratchDatabase } from '../../helpers/engines.ts';
import { Counter, gate, handler } from '../../helpers/handling.ts';
import { forThisTest } from '../../helpers/process.ts';

const HOUR = 3_600_000;
/** What the wall clock of a process does: somebody sets it, or the machine sleeps. Milliseconds. */
const JUMPS = [
  ['an hour back', -HOUR],
  ['a day forward', 24 * HOUR],
] as const;
const topic = 'forum.integration.x';
const LEASE_MS = 2000;

const now = Date.now.bind(Date);
/** Only the wall clock: timers and the monotonic clock go on. */
function jump(milliseconds: number): void {
  vi.spyOn(Date, 'now').mockImplementation(() => now() + milliseconds);
}
afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(engines)('on %s, a wall clock', engine => {
  /** A service whose handler fails at the first two attempts of each message. */
  async function started() {
    const database = await forThisTest(scratchDatabase(engine));
    const handled = new Counter<string>();
    const failing = handler(topic, ({ message_id }, { attempt }) => {
      if (attempt < 3) throw new Error('not yet');
      handled.add(message_id);
    });
    const config = { ROLE: 'all', POLL_INTERVAL_MS: '20', BACKOFF_BASE_MS: '100', LEASE_MS: String(LEASE_MS) };
    const app = await startApp(engine, { database, config, overrides: { handlers: [failing], random: () => 1 } });
    onTestFinished(app.close);
    const publish = async (message_id: string, more: object = {}) => {
      const { status, body } = await app.send('POST', '/outbox', { topic, payload: {}, message_id, ...more });
      expect(status, JSON.stringify(body)).toBe(201);
    };
    return { app, handled, publish };
  }

  it.each(JUMPS)('that jumps %s holds up nothing that waits, and hurries nothing', async (_, milliseconds) => {
    const { app, handled, publish } = await started();
    for (const id of ['a1', 'a2', 'a3']) await publish(id, { message_key: 'a' });
    await publish('later', { available_at: new Date(Date.now() + 800).toISOString() });
    const asked = performance.now();
    jump(milliseconds);
    await publish('after', { message_key: 'a' });
    await handled.reach(5);
    // The lane: four messages, each with two delays of 100 and 200 ms.
    expect(performance.now() - asked).toBeGreaterThan(1000);
    expect(handled.seen.filter(id => id !== 'later')).toEqual(['a1', 'a2', 'a3', 'after']);
    const { body } = await app.send('GET', `/outbox?topic=${topic}`);
    expect(body.items.map((message: { attempts: number }) => message.attempts)).toEqual([3, 3, 3, 3, 3]);
  });

  it.each(JUMPS)('that has jumped %s is what a message is published by', async (_, milliseconds) => {
    // PostgreSQL measures by its own.
    if (engine === 'postgres') return;
    const { handled, publish } = await started();
    jump(milliseconds);
    await publish('past', { available_at: new Date(Date.now() - 1000).toISOString() });
    await publish('soon', { available_at: new Date(Date.now() + 1500).toISOString() });
    const asked = performance.now();
    await handled.reach(1);
    expect(performance.now() - asked).toBeLessThan(1400);
    await handled.reach(2);
    expect(performance.now() - asked).toBeGreaterThan(900);
    expect(handled.seen).toEqual(['past', 'soon']);
  });

  it.each(JUMPS)('that has jumped %s leaves the latest time one that can be shown', async (_, milliseconds) => {
    const { app, publish } = await started();
    jump(milliseconds);
    await publish('last', { available_at: '9999-12-31T23:59:59.999Z' });
    expect((await app.send('GET', '/outbox')).body.items[0].available_at).toMatch(/^9999-12-3/);
  });

  it.each(JUMPS)('that jumps %s takes no lease from its own process', async (_, milliseconds) => {
    const database = await forThisTest(scratchDatabase(engine));
    const { open, passed } = gate();
    const begun = new Counter<number>();
    const slow = handler(topic, (_message, { attempt }) => {
      begun.add(attempt);
      return passed;
    });
    const config = { ROLE: 'all', POLL_INTERVAL_MS: '20', LEASE_MS: String(LEASE_MS) };
    const app = await startApp(engine, { database, config, overrides: { handlers: [slow] } });
    onTestFinished(app.close);
    onTestFinished(open);
    await app.send('POST', '/outbox', { topic, payload: {}, message_id: 'slow' });
    await begun.reach(1);
    jump(milliseconds);
    await delay(2 * LEASE_MS);
    open();
    await expect.poll(async () => (await app.send('GET', '/outbox/slow')).body.status).toBe('sent');
    expect(begun.seen).toEqual([1]);
  });

  it.each(JUMPS)(
    'that jumps %s before a restart, and in the process before it, holds up nothing',
    async (_, milliseconds) => {
      const { app, handled, publish } = await started();
      await publish('before');
      await handled.reach(1);
      jump(milliseconds);
      const calls = Array.from({ length: 6 }, (_, number) => `m${number}`);
      for (const id of calls) await publish(id, { message_key: 'a' });
      await app.restart();
      await handled.reach(3);
      // Back to what it was, so for those that were written meanwhile it has jumped the other way.
      vi.restoreAllMocks();
      await app.restart();
      await handled.reach(5);
      jump(milliseconds);
      await app.restart();
      await handled.reach(7);
      expect(handled.seen).toEqual(['before', ...calls]);
    },
  );

  it.each(JUMPS)('that jumps %s delays nothing that a process gives back when it stops', async (_, milliseconds) => {
    const database = await forThisTest(scratchDatabase(engine));
    const { open, passed } = gate();
    onTestFinished(open);
    const begun = new Counter<number>();
    const slow = handler(topic, (_message, { attempt, signal }) => {
      begun.add(attempt);
      return Promise.race([passed, new Promise((_, reject) => signal.addEventListener('abort', reject))]);
    });
    const config = { ROLE: 'all', POLL_INTERVAL_MS: '20', SHUTDOWN_GRACE_MS: '0' };
    const app = await startApp(engine, { database, config, overrides: { handlers: [slow] } });
    onTestFinished(app.close);
    jump(milliseconds);
    await app.send('POST', '/outbox', { topic, payload: {}, message_id: 'slow' });
    await begun.reach(1);
    await app.restart();
    await begun.reach(2);
    expect(begun.seen).toEqual([1, 1]);
  });
});
