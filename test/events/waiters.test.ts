import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { EventFeed } from '../../src/events/feed.ts';
import type { Event } from '../../src/events/schemas.ts';
import { Waiters } from '../../src/events/waiters.ts';
import { gate } from '../helpers/handling.ts';

const log = pino({ level: 'silent' });
const longWait = { isNews: (resource: number) => resource > 1, timeoutMs: 50_000 };

/** Waiters on a log and a resource that the test holds in its hands. */
function waitersOn(read: () => Promise<number>) {
  const events: Event[] = [];
  const feed = new EventFeed({
    read: async after => events.slice(after),
    latest: async () => events.length,
    pollIntervalMs: 60_000,
    log,
  });
  onTestFinished(() => feed.close());
  const ending = new AbortController();
  const waiters = new Waiters({
    feed,
    read,
    revisionOf: (version: number) => version,
    concerns: () => 'it',
    ending: ending.signal,
  });
  return {
    waiters,
    feed,
    ending,
    happen() {
      events.push({ sequence: events.length + 1, event_type: 'forum.question.answered' } as Event);
      feed.wake();
    },
  };
}

describe('somebody who waits', () => {
  it('is told when the look that others caused fails before the own one has come back', async () => {
    const { passed, open } = gate();
    const looked = gate();
    const own = gate();
    let reads = 0;
    const { waiters, happen } = waitersOn(async () => {
      reads += 1;
      if (reads === 1) {
        own.open();
        await passed;
        return 1;
      }
      looked.open();
      throw new Error('the database connection broke');
    });
    const waiting = waiters.wait('it', { ...longWait, signal: new AbortController().signal });
    const failed = expect(waiting).rejects.toThrow('connection broke');
    await own.passed;
    happen();
    await looked.passed;
    // A rejection that nobody has caught by the end of this turn would end the process.
    await new Promise(resolve => setImmediate(resolve));
    open();
    await failed;
  });

  it('holds the feed while it waits, and leaves nothing behind when it goes away', async () => {
    const { waiters, feed, happen } = waitersOn(async () => 1);
    expect(feed.after(0)).toBeUndefined();
    const clients = Array.from({ length: 100 }, () => new AbortController());
    const waiting = clients.map(({ signal }) => waiters.wait('it', { ...longWait, signal }));
    await new Promise(resolve => setImmediate(resolve));
    expect(feed.after(0)).toEqual([]);
    happen();
    for (const client of clients.slice(1)) client.abort();
    await Promise.all(waiting.slice(1));
    expect(feed.after(0)).toHaveLength(1);
    clients[0]?.abort();
    expect(await waiting[0]).toBe(1);
    await new Promise(resolve => setImmediate(resolve));
    expect(feed.after(0)).toBeUndefined();
  });

  it('is not kept if it has gone away, or the service has ended, before it began', async () => {
    const { waiters, feed, ending } = waitersOn(async () => 1);
    expect(await waiters.wait('it', { ...longWait, signal: AbortSignal.abort() })).toBe(1);
    ending.abort();
    expect(await waiters.wait('it', { ...longWait, signal: new AbortController().signal })).toBe(1);
    await new Promise(resolve => setImmediate(resolve));
    expect(feed.after(0)).toBeUndefined();
  });

  it('begins anew after the log could not be read', async () => {
    let broken = true;
    const feed = new EventFeed({
      read: async () => [],
      async latest() {
        if (broken) throw new Error('the database connection broke');
        return 0;
      },
      pollIntervalMs: 60_000,
      log,
    });
    onTestFinished(() => feed.close());
    const ending = new AbortController();
    const waiters = new Waiters({
      feed,
      read: async () => 2,
      revisionOf: (version: number) => version,
      concerns: () => 'it',
      ending: ending.signal,
    });
    const wait = () => waiters.wait('it', { ...longWait, signal: new AbortController().signal });
    await Promise.all([expect(wait()).rejects.toThrow(), expect(wait()).rejects.toThrow()]);
    broken = false;
    expect(await wait()).toBe(2);
  });

  it('sees what was committed before the log was followed, of which nobody tells it', async () => {
    const asked = gate();
    const known = gate();
    let version = 1;
    const feed = new EventFeed({
      read: async () => [],
      async latest() {
        asked.open();
        await known.passed;
        return 1;
      },
      pollIntervalMs: 60_000,
      log,
    });
    onTestFinished(() => feed.close());
    const { signal } = new AbortController();
    const ending = signal;
    const waiters = new Waiters({
      feed,
      read: async () => version,
      revisionOf: (read: number) => read,
      concerns: () => 'it',
      ending,
    });
    const waiting = waiters.wait('it', { ...longWait, signal });
    await asked.passed;
    version = 2;
    known.open();
    expect(await waiting).toBe(2);
  });

  it('is told of what is committed while it reads', async () => {
    const reading = gate();
    const read = gate();
    let version = 1;
    const { waiters, happen } = waitersOn(async () => {
      const now = version;
      reading.open();
      if (now === 1) await read.passed;
      return now;
    });
    const waiting = waiters.wait('it', { ...longWait, signal: new AbortController().signal });
    await reading.passed;
    version = 2;
    happen();
    await new Promise(resolve => setImmediate(resolve));
    read.open();
    expect(await waiting).toBe(2);
  });
});
