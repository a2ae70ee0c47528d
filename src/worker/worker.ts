import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Clock, toTimestampOrNull } from '../clock.ts';
import type { Logger } from '../logging.ts';
import type { Lease, LeasedDelivery } from '../outbox/leased-delivery.ts';
import type { Outcome, Settled, Settlement } from '../outbox/outcome.ts';
import { loopPause } from './backoff.ts';
import { AttemptCancellation } from './cancellation.ts';
import type { Dispatch, Dispatched } from './dispatcher.ts';
import { Stopping } from './handler.ts';
import { createOutcomeBatcher } from './outcome-batcher.ts';
import { Throughput } from './throughput.ts';

/** Source of deliveries and sink of their outcomes; see outbox/delivery-service.ts. */
interface DeliveryStore {
  /** @param held what the worker holds already */
  claim(limit: number, held: () => LeasedDelivery[]): Promise<LeasedDelivery[]>;
  renew(leases: Lease[]): Promise<Lease[]>;
  /** @param options `claims`: also claims what follows in the lanes */
  settle(take: () => Settlement[], options: { claims: boolean }): Promise<Settled>;
}

interface Dependencies {
  store: DeliveryStore;
  dispatch: Dispatch;
  clock: Clock;
  log: Logger;
  /** Asynchronous handlers that run at once. */
  concurrency: number;
  /** Milliseconds. */
  pollIntervalMs: number;
  /** Milliseconds. */
  leaseMs: number;
  /** The public text of an error of the store, for health. */
  explain: (error: unknown) => string;
  /** When a message is tried again whose outcome could not be stored; given how many attempts there have been. Milliseconds. */
  retryDelay: (attempt: number) => number;
  /** The store gives only so much of one subscription: each delivery that ends makes room for another one. */
  hasRooms?: boolean;
}

/** Counts of one pass: `failed` includes postponed messages. */
export interface PassCounts {
  claimed: number;
  sent: number;
  failed: number;
  dead: number;
}

/** A delivery from its claim until its outcome is stored or its lease is lost. */
interface Held {
  delivery: LeasedDelivery;
  cancellation: AttemptCancellation;
  /** Time of the last claim or renewal, on the monotonic clock. Milliseconds. */
  heldAt: number;
  /** Whether it is one of those that run one at a time. */
  alone: boolean;
  ended: PromiseWithResolvers<Ending>;
}

type Ending = Outcome['kind'] | 'stale';

const LOG_LEVELS: Partial<Record<Ending, 'debug' | 'error'>> = {
  sent: 'debug',
  released: 'debug',
  dead: 'error',
};

/** Deliveries claimed beyond the concurrency: as many as handlers finished recently, but at most this number. */
const MAX_PREFETCH = 1000;

/**
 * The worker loop: claim deliveries, run up to `concurrency` handlers, settle while the lease is held. Commits wake it;
 * the poll interval catches a missed wake-up. While handlers are quick it prefetches, so that one claim serves many of
 * them. The worker is independent of SQL, HTTP and topics.
 */
export class Worker {
  readonly #deps: Dependencies;
  readonly #store: ReturnType<typeof createOutcomeBatcher>;
  /** All claimed deliveries, running or waiting. */
  readonly #held = new Set<Held>();
  /** How many of them are in a lane, so that others may follow them. */
  #inLanes = 0;
  /** The claimed deliveries that wait for a free slot. */
  readonly #waiting: Held[] = [];
  /** Those whose handlers run. */
  readonly #running = new Set<Held>();
  /** Deliveries to be handled one at a time, from now. */
  #oneAtATime = 0;
  readonly #throughput = new Throughput();
  #loop: Promise<void> | undefined;
  #renewal: NodeJS.Timeout | undefined;
  #renewing = false;
  #stopping = false;
  #woken = false;
  /** The last claim may have left something for which there was no room. */
  #mayHaveLeft = false;
  #endSleep: () => void = () => {};
  #lastTickAt: number | null = null;
  #lastProcessedAt: number | null = null;
  #processedTotal = 0;
  #consecutiveErrors = 0;
  #lastError: string | null = null;
  #staleAcks = 0;

  constructor(dependencies: Dependencies) {
    this.#deps = dependencies;
    this.#store = createOutcomeBatcher(take => this.#storeAndClaim(take));
  }

  /** Starts the loop. */
  start(): void {
    this.#loop = this.#run();
  }

  /** Makes the loop claim again soon, because a message may have become due. Cheap, and safe at any time. */
  wake(): void {
    this.#woken = true;
    this.#endSleep();
  }

  /** Handles `count` more deliveries one at a time, so that a poison message that kills the process dies alone. */
  runOneAtATime(count: number): void {
    this.#oneAtATime += count;
  }

  /** Runs one claim-and-dispatch pass now, also without the loop. Resolves when all claimed deliveries have ended. */
  async pass(limit: number): Promise<PassCounts> {
    const claimed = await this.#claim(this.#oneAtATime > 0 ? Math.min(limit, this.#claimLimit()) : limit);
    const endings = await Promise.all(
      claimed.map(held => {
        this.#begin(held);
        return held.ended.promise;
      }),
    );
    const count = (...kinds: Ending[]) => endings.filter(ending => kinds.includes(ending)).length;
    const failed = count('retry', 'postponed');
    return { claimed: claimed.length, sent: count('sent'), failed, dead: count('dead') };
  }

  /**
   * Stops claiming and waits up to `graceMs` milliseconds for running handlers. Then it cancels the remaining ones and
   * releases their leases. So another worker, or the next start, can claim their messages at once.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    this.wake();
    const grace = AbortSignal.timeout(graceMs);
    const graceOver = new Promise(resolve => grace.addEventListener('abort', resolve));
    await Promise.race([this.#loop, graceOver]);
    this.#releaseWaiting();
    const allEnded = () => Promise.allSettled([...this.#held].map(held => held.ended.promise));
    await Promise.race([allEnded(), graceOver]);
    // What has only to be stored, as the release of those that waited, is not late.
    const late = [...this.#running];
    if (late.length > 0)
      this.#deps.log.warn({ count: late.length }, 'releasing the leases of handlers that have not finished');
    for (const { cancellation } of late) cancellation.cancel(new Stopping('The service is stopping.'));
    await allEnded();
    clearInterval(this.#renewal);
  }

  /** The `worker` part of GET /bus/health. */
  get health() {
    return {
      running: this.#loop !== undefined && !this.#stopping,
      last_tick_at: toTimestampOrNull(this.#lastTickAt),
      last_processed_at: toTimestampOrNull(this.#lastProcessedAt),
      processed_total: this.#processedTotal,
      consecutive_errors: this.#consecutiveErrors,
      last_error: this.#lastError,
      stale_acks: this.#staleAcks,
    };
  }

  async #run(): Promise<void> {
    const { pollIntervalMs, log, clock, explain } = this.#deps;
    while (!this.#stopping) {
      this.#woken = false;
      const limit = this.#claimLimit();
      try {
        this.#lastTickAt = clock.now();
        const claimed = await this.#claim(limit);
        this.#mayHaveLeft = claimed.length === limit || this.#deps.hasRooms === true;
        this.#waiting.push(...claimed);
        if (this.#stopping) this.#releaseWaiting();
        else this.#beginWaiting();
        this.#consecutiveErrors = 0;
        if (limit > 0 && claimed.length === limit) {
          // What was settled together with the claim makes room for the next one.
          await nextTurn();
          continue;
        }
      } catch (error) {
        this.#consecutiveErrors += 1;
        this.#lastError = explain(error);
        log.error({ err: error }, 'the worker could not claim messages');
        // A wake-up during the claim must not turn an unavailable database into a busy loop.
        this.#woken = false;
      }
      await this.#sleep(loopPause(this.#consecutiveErrors, pollIntervalMs));
    }
  }

  /** The number of deliveries to claim now. */
  #claimLimit(): number {
    if (this.#oneAtATime > 0) return this.#held.size === 0 ? 1 : 0;
    return Math.max(0, this.#deps.concurrency + Math.min(MAX_PREFETCH, this.#throughput.recent) - this.#held.size);
  }

  #beginWaiting(): void {
    while (this.#running.size < this.#deps.concurrency && !this.#stopping) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#begin(next);
    }
  }

  #releaseWaiting(): void {
    for (const held of this.#waiting.splice(0)) void this.#settle(held, { kind: 'released' });
  }

  /** Sleeps until the time is over or the loop is woken. Returns at once if it was woken since the last claim began. */
  async #sleep(milliseconds: number): Promise<void> {
    if (this.#woken || this.#stopping) return;
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, milliseconds);
      this.#endSleep = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#endSleep = () => {};
  }

  async #claim(limit: number): Promise<Held[]> {
    if (limit === 0) return [];
    const heldAt = performance.now();
    const alone = this.#oneAtATime > 0;
    const deliveries = await this.#deps.store.claim(limit, () => [...this.#held].map(held => held.delivery));
    return deliveries.map(delivery => this.#hold(delivery, heldAt, alone));
  }

  #hold(delivery: LeasedDelivery, heldAt: number, alone: boolean): Held {
    this.#renewal ??= setInterval(() => void this.#renew(), this.#deps.leaseMs / 3).unref();
    const ended = Promise.withResolvers<Ending>();
    const held = { delivery, cancellation: new AttemptCancellation(), heldAt, alone, ended };
    this.#held.add(held);
    this.#inLanes += delivery.row.queued;
    return held;
  }

  /**
   * Stores outcomes, and claims what follows them in their lanes. While there is no room for others that are due, it
   * does not. A lane with a long backlog takes its turn behind them.
   */
  async #storeAndClaim(take: () => Settlement[]): Promise<Settled> {
    const heldAt = performance.now();
    const isLoop = this.#loop !== undefined && !this.#stopping && !this.#deps.hasRooms && this.#oneAtATime === 0;
    const claims = isLoop && this.#inLanes > 0 && this.#claimLimit() > 0;
    const settled = await this.#deps.store.settle(take, { claims });
    this.#waiting.push(...settled.next.map(delivery => this.#hold(delivery, heldAt, false)));
    if (this.#stopping) this.#releaseWaiting();
    else this.#beginWaiting();
    return settled;
  }

  #begin(held: Held): void {
    // The lease was lost while the delivery waited, or it expired while the process was suspended.
    if (held.cancellation.isCancelled || performance.now() - held.heldAt >= this.#deps.leaseMs) {
      this.#end(held, 'stale', false);
      return;
    }
    const dispatched = this.#deps.dispatch(held.delivery, held.cancellation);
    if (!(dispatched instanceof Promise)) {
      this.#throughput.count();
      void this.#settle(held, dispatched);
      return;
    }
    this.#running.add(held);
    void dispatched.then(outcome => {
      this.#running.delete(held);
      this.#throughput.count();
      void this.#settle(held, outcome);
      this.#beginWaiting();
    });
  }

  async #settle(held: Held, outcome: Dispatched): Promise<void> {
    if (outcome.kind === 'settled') return this.#end(held, 'sent', outcome.held);
    const { delivery } = held;
    try {
      this.#end(held, outcome.kind, await this.#store({ delivery, outcome }));
    } catch (error) {
      await this.#settleUnstorable(held, error);
    }
  }

  /** Replaces an outcome that could not be stored by a retry with that reason. */
  async #settleUnstorable(held: Held, error: unknown): Promise<void> {
    const { delivery } = held;
    const { explain, log, retryDelay } = this.#deps;
    const { message_id, attempts } = delivery.message;
    this.#lastError = explain(error);
    log.error({ err: error, message_id }, 'an outcome could not be stored');
    const reason = `The outcome of the attempt could not be stored: ${this.#lastError}`;
    const outcome = { kind: 'retry', delayMs: retryDelay(attempts), error: reason } as const;
    try {
      this.#end(held, outcome.kind, await this.#store({ delivery, outcome }));
    } catch {
      // The lease expires and the message is claimed again: delivery is at least once.
      this.#free(held, 'stale');
    }
  }

  #end(held: Held, ending: Ending, isHeld: boolean): void {
    const { message_id, topic, attempts } = held.delivery.message;
    const { log, clock } = this.#deps;
    if (isHeld) {
      this.#lastProcessedAt = clock.now();
      this.#processedTotal += 1;
      log[LOG_LEVELS[ending] ?? 'warn']({ message_id, topic, attempt: attempts, ending }, 'message handled');
    } else {
      this.#staleAcks += 1;
      log.warn({ message_id, topic }, 'stale ack: the lease had been lost, nothing was changed');
    }
    this.#free(held, isHeld ? ending : 'stale');
  }

  #free(held: Held, ending: Ending): void {
    this.#held.delete(held);
    this.#inLanes -= held.delivery.row.queued;
    // Not at its claim: while the last of them runs, nothing is to run beside it.
    if (held.alone) this.#oneAtATime -= 1;
    held.ended.resolve(ending);
    if (this.#mayHaveLeft) this.wake();
  }

  /** Renews all leases. Runs every third of a lease, so two more renewals can be tried before one expires. */
  async #renew(): Promise<void> {
    const all = [...this.#held];
    const now = performance.now();
    for (const { heldAt, cancellation } of all) {
      // While renewals fail, the clock tells that a lease has expired.
      if (now - heldAt >= this.#deps.leaseMs) cancellation.cancel(new Error('The lease expired.'));
    }
    if (all.length === 0 || this.#renewing) return;
    this.#renewing = true;
    try {
      const kept = new Set((await this.#deps.store.renew(all.map(({ delivery }) => delivery.lease))).map(leaseKey));
      for (const one of all) {
        if (kept.has(leaseKey(one.delivery.lease))) one.heldAt = now;
        else one.cancellation.cancel(new Error('The lease was lost.'));
      }
    } catch (error) {
      this.#deps.log.error({ err: error }, 'leases could not be renewed');
    } finally {
      this.#renewing = false;
    }
  }
}

function leaseKey({ position, lease_token }: Lease): string {
  return `${position}:${lease_token}`;
}
