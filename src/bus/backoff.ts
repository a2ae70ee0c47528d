/** Exponential backoff with full jitter above a floor: half of the delay is fixed, half is random, so that retries spread out. */
export interface Backoff {
  baseMs: number;
  capMs: number;
}

/**
 * The delay before the next attempt, in milliseconds.
 * @param attempt how many attempts there have been (1 or more)
 * @param random from [0, 1)
 */
export function backoffDelay({ baseMs, capMs }: Backoff, attempt: number, random: () => number): number {
  // 2 ** 40 milliseconds is beyond every cap; a larger exponent would only lose precision.
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt - 1, 40));
  return Math.round(ceiling / 2 + (ceiling / 2) * random());
}
