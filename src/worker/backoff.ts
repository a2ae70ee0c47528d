import type { Policy } from './handler.ts';

/**
 * The delay before the next attempt, in milliseconds: exponential up to a cap, the upper half of it random, so that
 * retries neither come at once nor all together.
 * @param attempt how many attempts there have been (1 or more)
 * @param random from [0, 1)
 */
export function backoffDelay(
  { backoff_base_ms, backoff_cap_ms }: Pick<Policy, 'backoff_base_ms' | 'backoff_cap_ms'>,
  attempt: number,
  random: () => number,
): number {
  // 2 ** 40 milliseconds is beyond every cap; a larger exponent would only lose precision.
  const ceiling = Math.min(backoff_cap_ms, backoff_base_ms * 2 ** Math.min(attempt - 1, 40));
  return Math.round(ceiling / 2 + (ceiling / 2) * random());
}

/** The longest pause of a loop whose database is away, in intervals. */
const LONGEST_PAUSE = 8;

/**
 * The pause of a loop that looks every `intervalMs`, in milliseconds: it doubles with each failure in a row after the first,
 * so that a database that is away costs few tries and few lines in the log.
 */
export function loopPause(failures: number, intervalMs: number): number {
  return intervalMs * Math.min(LONGEST_PAUSE, 2 ** Math.max(0, failures - 1));
}
