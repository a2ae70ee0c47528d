/** How far back `lately` reaches. Milliseconds. */
const LATELY_MS = 50;

/** Counts what has ended lately: in the span that lasts, or in the one before it if that was more. */
export class Pace {
  #ended = 0;
  #before = 0;
  #since = performance.now();

  /** Something has ended. */
  count(): void {
    this.#ended += 1;
  }

  /** How much has. */
  get lately(): number {
    const now = performance.now();
    if (now - this.#since >= LATELY_MS) {
      this.#before = now - this.#since < 2 * LATELY_MS ? this.#ended : 0;
      this.#ended = 0;
      this.#since = now;
    }
    return Math.max(this.#ended, this.#before);
  }
}

/** The longest pause of a loop whose database is away, in intervals. */
const LONGEST_PAUSE = 8;

/**
 * The pause of a loop that looks every `intervalMs`, in milliseconds: it doubles with each failure in a row after the first,
 * so that a database that is away costs few tries and few lines in the log.
 */
export function pauseAfter(failures: number, intervalMs: number): number {
  return intervalMs * Math.min(LONGEST_PAUSE, 2 ** Math.max(0, failures - 1));
}
