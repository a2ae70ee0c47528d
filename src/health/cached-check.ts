import type { Clock } from '../clock.ts';

/** How often something is looked at, however many ask. Milliseconds. */
const LOOK_EVERY_MS = 1000;
/** How long those who ask wait for a look; after that they are told what the last one has found. Milliseconds. */
const GLANCE_MS = 100;
/** How long a look may take before it counts as not answered. Milliseconds. */
const PATIENCE_MS = 5000;

/** Something that may take long to look at, for many who ask and none who waits. */
export class CachedCheck<T> {
  readonly #take: () => Promise<T>;
  readonly #clock: Clock;
  #found: { value: T; at: number } | undefined;
  /** The look that is under way; since when is measured on the monotonic clock. */
  #looking: { since: number; over: Promise<void> } | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;

  /** @param take must not reject */
  constructor(take: () => Promise<T>, clock: Clock) {
    this.#take = take;
    this.#clock = clock;
  }

  /** What the last look has found; undefined before the first is over. */
  get known(): T | undefined {
    return this.#found?.value;
  }

  /** Whether there has been an answer, and the look that is under way has not been waiting for one for too long. */
  get isAnswered(): boolean {
    return this.#found !== undefined && !this.#isLate;
  }

  get #isLate(): boolean {
    return this.#looking !== undefined && performance.now() - this.#looking.since >= PATIENCE_MS;
  }

  /** How old it is what is known, or that there is no answer. Milliseconds. */
  get age(): number {
    return this.#clock.now() - (this.#isLate ? this.#lookedAt : (this.#found?.at ?? Number.NEGATIVE_INFINITY));
  }

  /** Looks, if nobody has done so lately, and waits a little for what is found. */
  async look(): Promise<void> {
    // Also a clock that has been set back says that it is time.
    if (!this.#looking && Math.abs(this.#clock.now() - this.#lookedAt) >= LOOK_EVERY_MS) this.#begin();
    if (!this.#looking) return;
    const { since, over } = this.#looking;
    await atMost((this.#found ? GLANCE_MS : PATIENCE_MS) - (performance.now() - since), over);
  }

  #begin(): void {
    this.#lookedAt = this.#clock.now();
    const over = this.#take().then(value => {
      this.#found = { value, at: this.#clock.now() };
      this.#looking = undefined;
    });
    this.#looking = { since: performance.now(), over };
  }
}

/** Resolves when `over` does, or after so many milliseconds. */
async function atMost(milliseconds: number, over: Promise<void>): Promise<void> {
  if (milliseconds <= 0) return;
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  await Promise.race([over, late]);
  clearTimeout(timer);
}
