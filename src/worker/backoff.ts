import type { Policy } from './handler.ts';

/**
 * The delay before the next attempt, in milliseconds: capped exponential backoff with "equal jitter". Its upper half is
 * random, so that simultaneous failures do not retry together.
 * @param attempt number of the failed attempt, from 1
 * @param random answers a number in [0, 1)
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
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

/** The longest pause of a loop whose database is unavailable, in intervals. */
const LONGEST_PAUSE = 8;

/**
 * The pause of a polling loop, in milliseconds: `intervalMs`, doubled with each consecutive failure after the first. An
 * unavailable database thus costs few attempts and few log lines.
 */
export function loopPause(failures: number, intervalMs: number): number {
  return intervalMs * Math.min(LONGEST_PAUSE, 2 ** Math.max(0, failures - 1));
}
