/** Length of a counting window. Milliseconds. */
const WINDOW_MS = 50;

/** Counts finished attempts in fixed windows of {@link WINDOW_MS}. */
export class Throughput {
  #current = 0;
  #previous = 0;
  #since = performance.now();

  /** Counts one finished attempt. */
  count(): void {
    this.#current += 1;
  }

  /** The count of the current window or of the one before it, whichever is larger. */
  get recent(): number {
    const now = performance.now();
    if (now - this.#since >= WINDOW_MS) {
      this.#previous = now - this.#since < 2 * WINDOW_MS ? this.#current : 0;
      this.#current = 0;
      this.#since = now;
    }
    return Math.max(this.#current, this.#previous);
  }
}
