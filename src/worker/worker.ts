import { type Clock, toTimestampOrNull } from '../clock.ts';
import type { Logger } from '../logging.ts';
import type { Delivery, Lease } from '../outbox/leased-delivery.ts';
import type { Outcome } from '../outbox/outcome.ts';
import { loopPause } from './backoff.ts';
import { Cancellation } from './cancellation.ts';
import type { Dispatch, Dispatched } from './dispatcher.ts';
import { Stopping } from './handler.ts';
import { createOutcomeBatcher, type StoreOutcomes } from './outcome-batcher.ts';
import { Throughput } from './throughput.ts';

/** Where deliveries come from and where their outcomes go. */
interface DeliveryStore {
  claim(limit: number): Promise<Delivery[]>;
  renew(leases: Lease[]): Promise<Lease[]>;
  settle: StoreOutcomes;
}

interface Dependencies {
  store: DeliveryStore;
  dispatch: Dispatch;
  clock: Clock;
  log: Logger;
  concurrency: number;
  pollIntervalMs: number;
  leaseMs: number;
  /** What is told of an error of the store to those who watch. */
  explain: (error: unknown) => string;
  /** When a message is tried again whose outcome could not be stored; given how many attempts there have been. Milliseconds. */
  retryDelay: (attempt: number) => number;
}

export interface PassResult {
  claimed: number;
  sent: number;
  failed: number;
  dead: number;
}

/** A delivery whose lease this worker holds, until its outcome is stored. */
interface Held {
  delivery: Delivery;
  cancellation: Cancellation;
  /** When the lease was last known to be held, on this process's monotonic clock. */
  heldAt: number;
  ended: PromiseWithResolvers<Ending>;
}

type Ending = Outcome['kind'] | 'stale';

const LOG_LEVELS: Partial<Record<Ending, 'debug' | 'error'>> = {
  sent: 'debug',
  routed: 'debug',
  released: 'debug',
  dead: 'error',
};

/** As many deliveries are claimed ahead as handlers have ended lately; so many at most. */
const AHEAD_MOST = 1000;

/**
 * The loop: claim, run as many handlers at once as there may be, settle while the lease is held; woken by commits, with
 * the poll interval as the net. While handlers are quick, more is claimed than they can begin at once: one transaction
 * serves many. It knows deliveries and outcomes, and nothing of what is in them.
 */
export class Worker {
  readonly #deps: Dependencies;
  readonly #store: ReturnType<typeof createOutcomeBatcher>;
  /** All deliveries under a lease. */
  readonly #held = new Set<Held>();
  /** Those of them that wait for a free slot. */
  readonly #waiting: Held[] = [];
  #running = 0;
  /** Deliveries that are still to be handled one at a time. */
  #oneAtATime = 0;
  readonly #throughput = new Throughput();
  #loop: Promise<void> | undefined;
  #renewal: NodeJS.Timeout | undefined;
  #renewing = false;
  #stopping = false;
  #woken = false;
  #endSleep: () => void = () => {};
  #lastTickAt: number | null = null;
  #lastProcessedAt: number | null = null;
  #processedTotal = 0;
  #consecutiveErrors = 0;
  #lastError: string | null = null;
  #staleAcks = 0;

  constructor(dependencies: Dependencies) {
    this.#deps = dependencies;
    this.#store = createOutcomeBatcher(dependencies.store.settle);
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Something may have become due. Cheap, and safe at any time. */
  wake(): void {
    this.#woken = true;
    this.#endSleep();
  }

  /** So many more deliveries are handled one at a time: one of them may be what has ended a process before. */
  runOneAtATime(count: number): void {
    this.#oneAtATime += count;
  }

  /** One claim-and-dispatch pass now, whether the loop runs or not; answers when everything it claimed has been settled. */
  async pass(limit: number): Promise<PassResult> {
    const claimed = await this.#claim(limit);
    const endings = await Promise.all(
      claimed.map(held => {
        this.#begin(held);
        return held.ended.promise;
      }),
    );
    const count = (...kinds: Ending[]) => endings.filter(ending => kinds.includes(ending)).length;
    const failed = count('retry', 'postponed', 'unhandled');
    return { claimed: claimed.length, sent: count('sent'), failed, dead: count('dead') };
  }

  /**
   * Claims nothing more and waits for the handlers that run. Those that have not ended after `graceMs` are told to abort
   * and their leases are given back, so that another worker, or the next start, takes them at once.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    this.wake();
    const grace = AbortSignal.timeout(graceMs);
    const over = new Promise(resolve => grace.addEventListener('abort', resolve));
    await Promise.race([this.#loop, over]);
    this.#giveBackWaiting();
    const ended = () => Promise.allSettled([...this.#held].map(held => held.ended.promise));
    await Promise.race([ended(), over]);
    const late = [...this.#held];
    if (late.length > 0)
      this.#deps.log.warn({ count: late.length }, 'giving back the leases of handlers that have not ended');
    for (const { cancellation } of late) cancellation.cancel(new Stopping('The service is stopping.'));
    await ended();
    clearInterval(this.#renewal);
  }

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
      const room = this.#room();
      try {
        this.#lastTickAt = clock.now();
        const claimed = room > 0 ? await this.#claim(room) : [];
        this.#waiting.push(...claimed);
        if (this.#stopping) this.#giveBackWaiting();
        else this.#beginWaiting();
        this.#consecutiveErrors = 0;
        if (claimed.length > 0 && claimed.length === room) continue;
      } catch (error) {
        this.#consecutiveErrors += 1;
        this.#lastError = explain(error);
        log.error({ err: error }, 'the worker could not claim');
        // A wake-up must not turn a broken database into a busy loop.
        this.#woken = false;
      }
      await this.#sleep(loopPause(this.#consecutiveErrors, pollIntervalMs));
    }
  }

  /** How many deliveries to claim now. */
  #room(): number {
    if (this.#oneAtATime > 0) return this.#held.size === 0 ? 1 : 0;
    return Math.max(0, this.#deps.concurrency + Math.min(AHEAD_MOST, this.#throughput.recent) - this.#held.size);
  }

  #beginWaiting(): void {
    while (this.#running < this.#deps.concurrency && !this.#stopping) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#begin(next);
    }
  }

  #giveBackWaiting(): void {
    for (const held of this.#waiting.splice(0)) void this.#settle(held, { kind: 'released' });
  }

  /** Until the interval is over or somebody wakes the loop; not at all if that has happened since the last claim began. */
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
    const heldAt = performance.now();
    const deliveries = await this.#deps.store.claim(limit);
    this.#oneAtATime = Math.max(0, this.#oneAtATime - deliveries.length);
    this.#renewal ??= setInterval(() => void this.#renew(), this.#deps.leaseMs / 3).unref();
    return deliveries.map(delivery => {
      const held = { delivery, cancellation: new Cancellation(), heldAt, ended: Promise.withResolvers<Ending>() };
      this.#held.add(held);
      return held;
    });
  }

  #begin(held: Held): void {
    // Lost while it waited, or stopped since the claim for longer than the lease: by now the message is somebody else's.
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
    this.#running += 1;
    void dispatched.then(outcome => {
      this.#running -= 1;
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

  /** Stores in the place of an outcome that it could not be stored; the message is tried again. */
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
      // The database takes nothing just now: the lease runs out and the message comes again.
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
    held.ended.resolve(ending);
    this.wake();
  }

  /** Every third of a lease, which leaves two more tries before it runs out. */
  async #renew(): Promise<void> {
    const all = [...this.#held];
    const now = performance.now();
    for (const { heldAt, cancellation } of all) {
      // Nobody has said that the lease is lost; by the clock it is.
      if (now - heldAt >= this.#deps.leaseMs) cancellation.cancel(new Error('The lease ran out.'));
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
