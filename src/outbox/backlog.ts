import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import type { Reader } from '../db/database.ts';
import { eventTopic } from '../events/envelope.ts';
import type { EventLog } from '../events/service.ts';
import type { Subscriptions } from '../subscriptions/service.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import type { DeliveryCount } from './leased-delivery.ts';
import { countNext, UNSENT, type Unsent } from './repository.ts';

/** Deliveries of each status counted per query, and events; a query takes a few milliseconds. */
const CHUNK = 2500;
/** The result of a count in several chunks is reused for this many times its duration. */
const REUSE_FACTOR = 10;

interface Dependencies {
  reader: () => Reader;
  clock: Clock;
  events: Pick<EventLog, 'outlines' | 'latest'>;
  subscriptions: Pick<Subscriptions, 'all'>;
}

/** A running count. */
interface Running {
  /** It has taken more than one chunk. */
  large: boolean;
  counts: Promise<DeliveryCount[]>;
}

/**
 * Makes a function that counts unsent deliveries by subscription, topic and status. Events that a subscription has not
 * been given yet are pending. It counts a large backlog in chunks and yields to the event loop between them. It reuses the
 * last large count, so that counting takes a tenth of the time at most. A delivery that changes its status during a large
 * count may be counted under either.
 */
export function createBacklogCount({ reader, clock, events, subscriptions }: Dependencies) {
  let running: Running | undefined;
  let last: { until: number; counts: DeliveryCount[] } | undefined;

  async function count(run: Pick<Running, 'large'>): Promise<DeliveryCount[]> {
    const counts = new Map<string, DeliveryCount>();
    // The log first: what is given meanwhile is counted as its delivery.
    await countLog(counts, run);
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

  /** Counts the events between the positions of the subscriptions and the head of the log. */
  async function countLog(counts: Map<string, DeliveryCount>, run: Pick<Running, 'large'>): Promise<void> {
    const following = (await subscriptions.all(reader())).filter(({ eventTypes }) => eventTypes.size > 0);
    const behind = (sequence: number) => (one: Subscription) => one.position < sequence;
    const head = following.length > 0 ? await events.latest(reader()) : 0;
    const lagging = following.filter(behind(head));
    if (lagging.length === 0) return;
    let after = Math.min(...lagging.map(({ position }) => position));
    for (;;) {
      const outlines = await events.outlines(reader(), after, CHUNK);
      for (const { sequence, event_type, occurred_at } of outlines) {
        const topic = eventTopic(event_type);
        for (const { subscription_id, matches } of lagging.filter(behind(sequence))) {
          if (matches(topic)) add(counts, { subscription_id, topic, status: 'pending', count: 1, oldest: occurred_at });
        }
      }
      after = outlines.at(-1)?.sequence ?? head;
      if (outlines.length < CHUNK || after >= head) return;
      run.large = true;
      await nextTurn();
    }
  }

  return async (): Promise<DeliveryCount[]> => {
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

function add(counts: Map<string, DeliveryCount>, part: DeliveryCount): void {
  const { subscription_id, topic, status, count, oldest } = part;
  const key = `${status} ${subscription_id} ${topic}`;
  const known = counts.get(key);
  if (!known) {
    counts.set(key, { ...part });
    return;
  }
  known.count += count;
  if (oldest !== null) known.oldest = Math.min(known.oldest ?? oldest, oldest);
}
