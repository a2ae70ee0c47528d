import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import type { Reader } from '../db/database.ts';
import type { MessageCount } from './leased-delivery.ts';
import { countNext, UNSENT, type Unsent } from './repository.ts';

/** Messages of each status counted per query; a query takes a few milliseconds. */
const CHUNK = 2500;
/** The result of a count in several chunks is reused for this many times its duration. */
const REUSE_FACTOR = 10;

/** A running count. */
interface Running {
  /** It has taken more than one chunk. */
  large: boolean;
  counts: Promise<MessageCount[]>;
}

/**
 * Makes a function that counts unsent messages by topic and status. It counts a large backlog in chunks and yields to the
 * event loop between them. It reuses the last large count, so that counting takes a tenth of the time at most. A message
 * that changes its status during a large count may be counted under either.
 */
export function createBacklogCount({ reader, clock }: { reader: () => Reader; clock: Clock }) {
  let running: Running | undefined;
  let last: { until: number; counts: MessageCount[] } | undefined;

  async function count(run: Pick<Running, 'large'>): Promise<MessageCount[]> {
    const counts = new Map<string, MessageCount>();
    const from = perStatus();
    for (;;) {
      const parts = await countNext(reader(), { ...from, limit: CHUNK, now: clock.now() });
      const counted = perStatus();
      for (const { last, ...part } of parts) {
        const status = part.status as Unsent;
        add(counts, part);
        counted[status] += part.count;
        from[status] = Math.max(from[status], last);
      }
      const unfinished = UNSENT.filter(status => counted[status] === CHUNK);
      if (unfinished.length === 0) return [...counts.values()];
      for (const status of UNSENT) if (!unfinished.includes(status)) from[status] = Number.MAX_SAFE_INTEGER;
      run.large = true;
      await nextTurn();
    }
  }

  return async (): Promise<MessageCount[]> => {
    const began = performance.now();
    if (last && began < last.until) return last.counts;
    if (running?.large) return running.counts;
    const state = { large: false };
    const run: Running = Object.assign(state, { counts: count(state) });
    running = run;
    try {
      const counts = await run.counts;
      const now = performance.now();
      last = run.large ? { until: now + REUSE_FACTOR * (now - began), counts } : undefined;
      return counts;
    } finally {
      if (running === run) running = undefined;
    }
  };
}

function perStatus(): Record<Unsent, number> {
  return { pending: 0, processing: 0, failed: 0, dead: 0, discarded: 0 };
}

function add(counts: Map<string, MessageCount>, { topic, status, count, oldest }: MessageCount): void {
  const key = `${status} ${topic}`;
  const known = counts.get(key) ?? { topic, status, count: 0, oldest: null };
  const times = [known.oldest, oldest].filter(time => time !== null);
  counts.set(key, { ...known, count: known.count + count, oldest: times.length > 0 ? Math.min(...times) : null });
}
