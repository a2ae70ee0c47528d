import type { Clock } from '../clock.ts';
import type { LeasedDelivery } from '../outbox/leased-delivery.ts';
import type { Settled, Settlement } from '../outbox/outcome.ts';
import type { Dispatch, Dispatched } from '../worker/dispatcher.ts';
import type { Durations, Instruments } from './instruments.ts';
import type { TopicLabels } from './topics.ts';

interface Store {
  claim(limit: number, held: () => LeasedDelivery[]): Promise<LeasedDelivery[]>;
  settle(take: () => Settlement[], options: { claims: boolean }): Promise<Settled>;
}

interface TopicInstruments {
  attempts: { inc(): void };
  dead: { inc(): void };
  /** By outcome. */
  durations: Map<string, Durations>;
}

/** Decorators that measure the worker's store and dispatch, so that the worker itself needs no metrics. */
export function createDeliveryMetrics(instruments: Instruments, topics: TopicLabels, clock: Clock) {
  const { attempts, dead, dispatchDuration, lastClaim, reclaimed } = instruments;
  const dispatchWait = instruments.dispatchWait.labels();
  const byTopic = new Map<string, TopicInstruments>();
  for (const topic of topics.all) {
    byTopic.set(topic, { attempts: attempts.labels(topic), dead: dead.labels(topic), durations: new Map() });
    // A series that exists from the start shows its first event as an increase.
    attempts.labels(topic).inc(0);
    dead.labels(topic).inc(0);
  }
  const expired = reclaimed.labels('expired');
  const ofDeadProcess = reclaimed.labels('dead_process');
  for (const reason of [expired, ofDeadProcess]) reason.inc(0);

  // A process that never claims must not report a time.
  lastClaim.remove();

  const of = (topic: string) => byTopic.get(topics.of(topic)) as TopicInstruments;
  const claimed = () => lastClaim.set(clock.now() / 1000);

  function ended(topic: string, outcome: Dispatched, began: number): void {
    const kind = outcome.kind !== 'settled' ? outcome.kind : outcome.held ? 'sent' : 'stale';
    const { durations } = of(topic);
    const duration = durations.get(kind) ?? dispatchDuration.labels(topics.of(topic), kind);
    durations.set(kind, duration);
    duration.observe((performance.now() - began) / 1000);
  }

  return {
    /** Records the start of the worker as its first claim. */
    started: claimed,

    /** Counts leases reclaimed from dead processes. */
    reclaimed: (count: number): void => ofDeadProcess.inc(count),

    /** Wraps a store: counts claims, expired leases and dead messages. */
    counting<S extends Store>(store: S): S {
      return {
        ...store,
        async claim(limit, held) {
          const deliveries = await store.claim(limit, held);
          claimed();
          for (const delivery of deliveries) if (delivery.reclaimed) expired.inc();
          return deliveries;
        },
        async settle(take, options) {
          const settled = await store.settle(take, options);
          if (settled.next.length > 0) claimed();
          for (const [index, { delivery, outcome }] of take().entries()) {
            if (outcome.kind === 'dead' && settled.held[index]) of(delivery.message.topic).dead.inc();
          }
          return settled;
        },
      };
    },

    /** Wraps a dispatch: counts and times each attempt. */
    timing(dispatch: Dispatch): Dispatch {
      return (delivery, cancellation) => {
        const { topic } = delivery.message;
        of(topic).attempts.inc();
        // By the clock that recorded the claim, so to the millisecond only.
        dispatchWait.observe(Math.max(0, clock.now() - delivery.claimedAt) / 1000);
        const began = performance.now();
        const dispatched = dispatch(delivery, cancellation);
        if (dispatched instanceof Promise) void dispatched.then(outcome => ended(topic, outcome, began));
        else ended(topic, dispatched, began);
        return dispatched;
      };
    },
  };
}
