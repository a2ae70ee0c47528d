/** How far back `recent` reaches. Milliseconds. */
const RECENT_MS = 50;

/** Counts what has ended lately: in the span that lasts, or in the one before it if that was more. */
export class Throughput {
  #ended = 0;
  #before = 0;
  #since = performance.now();

  /** Something has ended. */
  count(): void {
    this.#ended += 1;
  }

  /** How much has. */
  get recent(): number {
    const now = performance.now();
    if (now - this.#since >= RECENT_MS) {
      this.#before = now - this.#since < 2 * RECENT_MS ? this.#ended : 0;
      this.#ended = 0;
      this.#since = now;
    }
    return Math.max(this.#ended, this.#before);
  }
}
