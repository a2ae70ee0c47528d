const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** The delay before each attempt of a delivery, counted from the one before. Milliseconds. */
const DELAYS = [
  ...[0, 5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE],
  ...[30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR],
];
/** Attempts of a delivery, over about 32 hours. */
export const WEBHOOK_ATTEMPTS = DELAYS.length;
/** The part of a delay by which it is made longer or shorter at random. */
const JITTER = 0.1;
/** The longest Retry-After that counts. Milliseconds. */
const LONGEST_RETRY_AFTER = 24 * HOUR;
/** Failures in a row that open the circuit. */
const FAILURES_TO_OPEN = 5;
/** A webhook that only fails for so long is disabled. Milliseconds. */
const DISABLED_AFTER = 120 * HOUR;
/** The failures that open the circuit count for no longer: days without an attempt may lie between them. Milliseconds. */
const LONGEST_TO_OPEN = HOUR;

/** The failures of a webhook since its last success. */
export interface Circuit {
  failures: number;
  /** Time of the first of them, or later by how long nothing was tried. Epoch milliseconds. */
  failing_since: number | null;
  /** The circuit is open: the next attempt, a probe, is due at this time. Epoch milliseconds. */
  probe_at: number | null;
}

export const CLOSED: Circuit = { failures: 0, failing_since: null, probe_at: null };

/**
 * When a delivery is tried again. Milliseconds; undefined if that was its last attempt.
 * @param attempt number of the failed attempt, from 1
 * @param retryAfterMs what the endpoint asks for; it counts if it is longer
 * @param random answers a number in [0, 1)
 */
export function retryDelay(attempt: number, retryAfterMs: number | null, random: () => number): number | undefined {
  const delay = DELAYS[attempt];
  if (delay === undefined) return undefined;
  const jittered = Math.round(delay * (1 - JITTER + 2 * JITTER * random()));
  return Math.max(jittered, bounded(retryAfterMs));
}

function bounded(retryAfterMs: number | null): number {
  return Math.min(retryAfterMs ?? 0, LONGEST_RETRY_AFTER);
}

/**
 * The circuit after a failed attempt; while it is open, after a failed probe: each waits for longer.
 * @param retryAfterMs what the endpoint asks for; it counts if it is longer
 */
export function afterFailure(circuit: Circuit, now: number, retryAfterMs: number | null): Circuit {
  const failures = circuit.failures + 1;
  const failing_since = sinceOf(circuit, now);
  if (failures < FAILURES_TO_OPEN) return { failures, failing_since, probe_at: null };
  const step = Math.min(failures - FAILURES_TO_OPEN + 1, DELAYS.length - 1);
  return { failures, failing_since, probe_at: now + Math.max(DELAYS[step] as number, bounded(retryAfterMs)) };
}

/** Time in which nothing was tried does not count: the service was off, or its clock was set. */
function sinceOf({ failing_since, probe_at }: Circuit, now: number): number {
  if (failing_since === null) return now;
  if (probe_at !== null) return failing_since + Math.max(0, now - probe_at);
  return Math.max(failing_since, now - LONGEST_TO_OPEN);
}

/** Whether a webhook has only failed for so long that nobody seems to miss it. Two failures with nothing between them do not tell. */
export function isAbandoned({ failures, failing_since }: Circuit, now: number): boolean {
  return failures >= FAILURES_TO_OPEN && failing_since !== null && now - failing_since >= DISABLED_AFTER;
}
