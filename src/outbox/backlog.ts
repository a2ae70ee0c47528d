import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import type { Reader } from '../db/database.ts';
import type { MessageCount } from './leased-delivery.ts';
import { countNext, UNSENT, type Unsent } from './repository.ts';

/** Messages of each status that are counted in one go: some milliseconds. */
const CHUNK = 2500;
/** A count that took longer is good for ten times as long, and whoever asks while one runs waits for its end. Milliseconds. */
const LONG_MS = 50;
const REUSED = 10;

/** What is not sent, by topic and status. */
export type CountBacklog = () => Promise<MessageCount[]>;

/**
 * Counts what is not sent. A large backlog is counted in parts, between which others have their turn; who asks often is
 * told an earlier count, so that counting takes a tenth of the time at most. Messages that move meanwhile may be counted
 * where they were or where they are.
 */
export function createBacklogCount({ reader, clock }: { reader: () => Reader; clock: Clock }): CountBacklog {
  let running: { since: number; counts: Promise<MessageCount[]> } | undefined;
  let last: { until: number; counts: MessageCount[] } | undefined;

  async function count(): Promise<MessageCount[]> {
    const counts = new Map<string, MessageCount>();
    const from = Object.fromEntries(UNSENT.map(status => [status, 0])) as Record<Unsent, number>;
    for (;;) {
      const parts = await countNext(reader(), { ...from, limit: CHUNK, now: clock.now() });
      const counted = Object.fromEntries(UNSENT.map(status => [status, 0])) as Record<Unsent, number>;
      for (const { last, ...part } of parts) {
        const status = part.status as Unsent;
        add(counts, part);
        counted[status] += part.count;
        from[status] = Math.max(from[status], last);
      }
      const unfinished = UNSENT.filter(status => counted[status] === CHUNK);
      if (unfinished.length === 0) return [...counts.values()];
      for (const status of UNSENT) if (!unfinished.includes(status)) from[status] = Number.MAX_SAFE_INTEGER;
      await nextTurn();
    }
  }

  return async () => {
    const now = performance.now();
    if (last && now < last.until) return last.counts;
    if (running && now - running.since > LONG_MS) return running.counts;
    const own = { since: now, counts: count() };
    running = own;
    try {
      const counts = await own.counts;
      const took = performance.now() - now;
      last = took > LONG_MS ? { until: performance.now() + REUSED * took, counts } : undefined;
      return counts;
    } finally {
      if (running === own) running = undefined;
    }
  };
}

function add(counts: Map<string, MessageCount>, { topic, status, count, oldest }: MessageCount): void {
  const key = `${status} ${topic}`;
  const known = counts.get(key) ?? { topic, status, count: 0, oldest: null };
  const times = [known.oldest, oldest].filter(time => time !== null);
  counts.set(key, { ...known, count: known.count + count, oldest: times.length > 0 ? Math.min(...times) : null });
}
