import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import type { Reader } from '../db/database.ts';
import type { MessageCount, MessageRow } from './leased-delivery.ts';
import { countNext } from './repository.ts';

/** Messages that are counted in one go: a few milliseconds. */
const CHUNK = 10_000;
/** A count that took longer is good for ten times as long, and whoever asks while one runs waits for its end. Milliseconds. */
const LONG_MS = 50;
const REUSED = 10;

type Status = Exclude<MessageRow['status'], 'sent'>;

/** What is not sent, by topic and status. */
export type CountBacklog = () => Promise<MessageCount[]>;

/**
 * Counts what is not sent. A large backlog is counted in parts, between which others have their turn; who asks often is
 * told an earlier count, so that counting takes a tenth of the time at most. Messages that move meanwhile may be counted
 * where they were or where they are.
 */
export function createBacklogCount(
  { reader, clock }: { reader: () => Reader; clock: Clock },
  statuses: readonly Status[],
): CountBacklog {
  let running: { since: number; counts: Promise<MessageCount[]> } | undefined;
  let last: { until: number; counts: MessageCount[] } | undefined;

  async function count(): Promise<MessageCount[]> {
    const counts = new Map<string, MessageCount>();
    for (const status of statuses) {
      for (let from = 0, isMore = true; isMore; ) {
        const part = await countNext(reader(), { status, from, limit: CHUNK, now: clock.now() });
        for (const { last: _, ...counted } of part) add(counts, counted);
        from = Math.max(from, ...part.map(({ last }) => last));
        isMore = part.reduce((sum, one) => sum + one.count, 0) === CHUNK;
        if (isMore) await nextTurn();
      }
    }
    return [...counts.values()];
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
