import type { Clock } from '../clock.ts';

/** Minimum time between the starts of two checks. Milliseconds. */
const MIN_INTERVAL_MS = 1000;
/** A caller waits this long for a running check, then gets the last result. Milliseconds. */
const MAX_WAIT_MS = 100;
/** A check that takes longer counts as unanswered. Milliseconds. */
const TIMEOUT_MS = 5000;

/** Caches a check that may be slow. Any number of callers cause at most one check a second, and none waits long. */
export class CachedCheck<T> {
  readonly #check: () => Promise<T>;
  readonly #clock: Clock;
  #result: { value: T; at: number } | undefined;
  /** The running check; `since` is on the monotonic clock. */
  #running: { since: number; done: Promise<void> } | undefined;
  #startedAt = Number.NEGATIVE_INFINITY;

  /** @param check must not reject */
  constructor(check: () => Promise<T>, clock: Clock) {
    this.#check = check;
    this.#clock = clock;
  }

  /** The last result; undefined before the first check has finished. */
  get value(): T | undefined {
    return this.#result?.value;
  }

  /** Whether there is a result and the running check, if any, has not timed out. */
  get isAnswered(): boolean {
    return this.#result !== undefined && !this.#isOverdue;
  }

  get #isOverdue(): boolean {
    return this.#running !== undefined && performance.now() - this.#running.since >= TIMEOUT_MS;
  }

  /** Age of the last result or, after a time-out, of the check that timed out. Milliseconds. */
  get age(): number {
    return this.#clock.now() - (this.#isOverdue ? this.#startedAt : (this.#result?.at ?? Number.NEGATIVE_INFINITY));
  }

  /** Starts a check if the last one is old enough, and waits a short time for the running one. */
  async refresh(): Promise<void> {
    // The absolute value: after the clock was set back, a new check must start as well.
    if (!this.#running && Math.abs(this.#clock.now() - this.#startedAt) >= MIN_INTERVAL_MS) this.#start();
    if (!this.#running) return;
    const { since, done } = this.#running;
    await atMost((this.#result ? MAX_WAIT_MS : TIMEOUT_MS) - (performance.now() - since), done);
  }

  #start(): void {
    this.#startedAt = this.#clock.now();
    const done = this.#check().then(value => {
      this.#result = { value, at: this.#clock.now() };
      this.#running = undefined;
    });
    this.#running = { since: performance.now(), done };
  }
}

/** Waits for `done`, but at most so many milliseconds. */
async function atMost(milliseconds: number, done: Promise<void>): Promise<void> {
  if (milliseconds <= 0) return;
  const { promise: expired, resolve } = Promise.withResolvers<void>();
  // A timer may fire up to a millisecond early. Then a check that takes too long would not count as unanswered yet.
  const timer = setTimeout(resolve, Math.ceil(milliseconds) + 1);
  await Promise.race([done, expired]);
  clearTimeout(timer);
}
