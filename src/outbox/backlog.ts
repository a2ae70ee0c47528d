import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import type { Reader } from '../db/database.ts';
import { eventTopic } from '../events/envelope.ts';
import type { EventLog } from '../events/service.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import { isInScope, type Subscription } from '../subscriptions/subscription.ts';
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
  subscriptions: Pick<SubscriptionService, 'all'>;
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
    const head = following.length > 0 ? await events.latest(reader()) : 0;
    const lagging = following.filter(({ position }) => position < head);
    if (lagging.length === 0) return;
    const byType = pendingByType(lagging);
    for (let after = Math.min(...lagging.map(({ position }) => position)); after < head; ) {
      const outlines = await events.outlines(reader(), after, CHUNK);
      for (const outline of outlines) {
        for (const pending of byType.get(outline.event_type) ?? []) {
          if (pending.position >= outline.sequence || !isInScope(pending, outline)) continue;
          pending.count += 1;
          pending.oldest ??= outline.occurred_at;
        }
      }
      if (outlines.length < CHUNK) break;
      after = outlines.at(-1)?.sequence ?? head;
      run.large = true;
      await nextTurn();
    }
    for (const { position: _, filter: __, ...pending } of [...byType.values()].flat())
      if (pending.count > 0) add(counts, pending);
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

/** A count of nothing for each subscription and each type of event that it wants. */
function pendingByType(
  subscriptions: Subscription[],
): Map<string, (DeliveryCount & Pick<Subscription, 'position' | 'filter'>)[]> {
  const wanted = subscriptions.flatMap(({ subscription_id, position, filter, eventTypes }) =>
    [...eventTypes].map(type => {
      const topic = eventTopic(type);
      return {
        type,
        pending: { subscription_id, position, filter, topic, status: 'pending' as const, count: 0, oldest: null },
      };
    }),
  );
  const byType = Map.groupBy(wanted, ({ type }) => type);
  return new Map([...byType].map(([type, all]) => [type, all.map(({ pending }) => pending)]));
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
