import { type Clock, toTimestampOrNull } from '../clock.ts';
import type { Logger } from '../logging.ts';
import type { Delivery, Lease, Outcome } from '../outbox/delivery.ts';
import type { Dispatch } from './dispatcher.ts';
import { Stopping } from './handler.ts';

/** Where deliveries come from and where their outcomes go. */
interface DeliveryStore {
  claim(limit: number): Promise<Delivery[]>;
  renew(leases: Lease[]): Promise<Lease[]>;
  /** False if the lease has been lost, and with it the right to change anything. */
  settle(delivery: Delivery, outcome: Outcome): Promise<boolean>;
}

interface Dependencies {
  store: DeliveryStore;
  dispatch: Dispatch;
  clock: Clock;
  log: Logger;
  concurrency: number;
  pollIntervalMs: number;
  leaseMs: number;
}

export interface PassResult {
  claimed: number;
  sent: number;
  failed: number;
  dead: number;
}

interface Running {
  delivery: Delivery;
  abort: AbortController;
  /** When the lease was last known to be held, on this process's monotonic clock. */
  heldAt: number;
  done: Promise<Ending>;
}

type Ending = Outcome['kind'] | 'stale';

const LOG_LEVELS: Partial<Record<Ending, 'debug' | 'error'>> = { sent: 'debug', routed: 'debug', dead: 'error' };

/**
 * The loop: claim what there are free slots for, run it, settle it while the lease is held; woken by commits, with the
 * poll interval as the net. It knows deliveries and outcomes, and nothing of what is in them.
 */
export class Worker {
  readonly #deps: Dependencies;
  readonly #running = new Map<string, Running>();
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
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Something may have become due. Cheap, and safe at any time. */
  wake(): void {
    this.#woken = true;
    this.#endSleep();
  }

  /** One claim-and-dispatch pass now, whether the loop runs or not; answers when everything it claimed has been settled. */
  async pass(limit: number): Promise<PassResult> {
    const claimedAt = performance.now();
    const deliveries = await this.#claim(limit);
    const endings = await Promise.all(deliveries.map(delivery => this.#begin(delivery, claimedAt)));
    const count = (...kinds: Ending[]) => endings.filter(ending => kinds.includes(ending)).length;
    const failed = count('retry', 'postponed', 'unhandled');
    return { claimed: deliveries.length, sent: count('sent'), failed, dead: count('dead') };
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
    const ended = () => Promise.allSettled([...this.#running.values()].map(({ done }) => done));
    await Promise.race([ended(), over]);
    const late = [...this.#running.values()];
    if (late.length > 0)
      this.#deps.log.warn({ count: late.length }, 'giving back the leases of handlers that have not ended');
    for (const { abort } of late) abort.abort(new Stopping('The service is stopping.'));
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
    const { concurrency, pollIntervalMs, log, clock } = this.#deps;
    while (!this.#stopping) {
      this.#woken = false;
      const free = concurrency - this.#running.size;
      try {
        this.#lastTickAt = clock.now();
        const claimedAt = performance.now();
        const deliveries = free > 0 ? await this.#claim(free) : [];
        for (const delivery of deliveries) void this.#begin(delivery, claimedAt);
        this.#consecutiveErrors = 0;
        if (deliveries.length > 0 && deliveries.length === free) continue;
      } catch (error) {
        this.#consecutiveErrors += 1;
        this.#lastError = error instanceof Error ? error.message : String(error);
        log.error({ err: error }, 'the worker could not claim');
        // A wake-up must not turn a broken database into a busy loop.
        this.#woken = false;
      }
      await this.#sleep(pollIntervalMs);
    }
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

  async #claim(limit: number): Promise<Delivery[]> {
    const deliveries = await this.#deps.store.claim(limit);
    this.#renewal ??= setInterval(() => void this.#renew(), this.#deps.leaseMs / 3).unref();
    return deliveries;
  }

  #begin(delivery: Delivery, heldAt: number): Promise<Ending> {
    // Stopped since the claim for longer than the lease: by now the message is somebody else's.
    if (performance.now() - heldAt >= this.#deps.leaseMs) return Promise.resolve(this.#ended(delivery, 'stale', false));
    const key = leaseKey(delivery.lease);
    const abort = new AbortController();
    const done = this.#deliver(delivery, abort.signal).finally(() => {
      this.#running.delete(key);
      this.wake();
    });
    this.#running.set(key, { delivery, abort, heldAt, done });
    return done;
  }

  async #deliver(delivery: Delivery, signal: AbortSignal): Promise<Ending> {
    const outcome = await this.#deps.dispatch(delivery, signal);
    if (outcome.kind !== 'settled') return this.#settle(delivery, outcome);
    return this.#ended(delivery, 'sent', outcome.held);
  }

  async #settle(delivery: Delivery, outcome: Outcome): Promise<Ending> {
    try {
      return this.#ended(delivery, outcome.kind, await this.#deps.store.settle(delivery, outcome));
    } catch (error) {
      // The lease runs out and the message comes again: at least once.
      this.#lastError = error instanceof Error ? error.message : String(error);
      this.#deps.log.error({ err: error, message_id: delivery.message.message_id }, 'an outcome could not be stored');
      return 'stale';
    }
  }

  #ended({ message: { message_id, topic, attempts } }: Delivery, ending: Ending, held: boolean): Ending {
    const { log, clock } = this.#deps;
    if (!held) {
      this.#staleAcks += 1;
      log.warn({ message_id, topic }, 'stale ack: the lease had been lost, nothing was changed');
      return 'stale';
    }
    this.#lastProcessedAt = clock.now();
    this.#processedTotal += 1;
    log[LOG_LEVELS[ending] ?? 'warn']({ message_id, topic, attempt: attempts, ending }, 'message handled');
    return ending;
  }

  /** Every third of a lease, which leaves two more tries before it runs out. */
  async #renew(): Promise<void> {
    const running = [...this.#running.values()];
    const now = performance.now();
    for (const { heldAt, abort } of running) {
      // Nobody has said that the lease is lost; by the clock it is.
      if (now - heldAt >= this.#deps.leaseMs) abort.abort(new Error('The lease ran out.'));
    }
    if (running.length === 0 || this.#renewing) return;
    this.#renewing = true;
    try {
      const held = new Set((await this.#deps.store.renew(running.map(({ delivery }) => delivery.lease))).map(leaseKey));
      for (const one of running) {
        if (held.has(leaseKey(one.delivery.lease))) one.heldAt = now;
        else one.abort.abort(new Error('The lease was lost.'));
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
