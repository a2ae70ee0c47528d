import { LATEST_TIME, toTimestamp } from '../clock.ts';
import type { EndedRow, LeasedDelivery } from './leased-delivery.ts';
import type { Attempt, MessageStatus } from './schemas.ts';

/** The end of one attempt to handle a message. */
export type Outcome =
  /** Handled. `result`: the handler's recorded result (JSON), stored on the delivery. */
  | { kind: 'sent'; result?: string; report?: AttemptReport }
  /** Failed; the next attempt is due after `delayMs`. */
  | { kind: 'retry'; delayMs: number; error: string; report?: AttemptReport }
  /** The handler asked for a retry at `until` (epoch milliseconds); no attempt is used. */
  | { kind: 'postponed'; until: number; error: string }
  /** No attempts left, or a permanent error. `blocks`: its lane waits until it is replayed or discarded. */
  | { kind: 'dead'; error: string; blocks: boolean; report?: AttemptReport }
  /** Not to be sent any more; no attempt is used. The reason begins with {@link DROPPED}. */
  | { kind: 'discarded'; error: string }
  /** The worker stops before the handler has finished; no attempt is used. */
  | { kind: 'released' };

/** How the reason of a delivery begins that was not to be sent any more. */
export const DROPPED = 'Dropped: ';

/** What becomes of a delivery whose run was erased. */
export const OF_ERASED_RUN = { kind: 'discarded', error: `${DROPPED}its run was erased.` } satisfies Outcome;

/** What an attempt adds to the history of its delivery. */
export type AttemptReport = Pick<Attempt, 'http_status' | 'response_head'>;

/** A delivery and the outcome of its attempt. */
export interface Settlement {
  delivery: LeasedDelivery;
  outcome: Outcome;
}

/** What became of settlements. */
export interface Settled {
  /** Whether the lease of each was held; if not, its row is unchanged. */
  held: boolean[];
  /** What followed them in their lanes and is claimed with them. */
  next: LeasedDelivery[];
}

/** Latest attempts kept per message. */
const HISTORY_KEPT = 20;
/** UTF-16 code units. */
const ERROR_LENGTH = 2000;

/** The latest retry that a handler can ask for. A year is room for a clock of leases that is ahead. Epoch milliseconds. */
const LATEST_RETRY = LATEST_TIME - 365 * 24 * 3_600_000;

/** Whether the delivery leaves its lane, so that the next one becomes its head. */
export function leavesLane(outcome: Outcome): boolean {
  if (outcome.kind === 'dead') return !outcome.blocks;
  return outcome.kind === 'sent' || outcome.kind === 'discarded';
}

/** The attempt history of a delivery (JSON) with the attempt that has just ended. */
function historyWith(
  { message, claimedAt, history }: LeasedDelivery,
  outcome: MessageStatus,
  error: string | null,
  now: number,
  worker: string,
  report: AttemptReport & Pick<Attempt, 'next_at'> = {},
): string {
  const { attempts, generation } = message;
  const times = { started_at: toTimestamp(claimedAt), duration_ms: Math.max(0, now - claimedAt) };
  const attempt: Attempt = { attempt: attempts, generation, ...times, worker, outcome, error, ...report };
  return JSON.stringify([...history, attempt].slice(-HISTORY_KEPT));
}

/**
 * The row of a delivery after an outcome.
 * @param now epoch milliseconds
 */
export function endedBy(delivery: LeasedDelivery, outcome: Outcome, now: number, worker: string): EndedRow {
  const { status, attempts, queued, parked, last_error, history, updated_at } = delivery.row;
  const unchanged = { status, attempts, queued, parked, last_error, history, updated_at };
  return { ...unchanged, ...changesOf(delivery, outcome, now, worker) };
}

function changesOf(delivery: LeasedDelivery, outcome: Outcome, now: number, worker: string): Partial<EndedRow> {
  const { message } = delivery;
  const last_error = 'error' in outcome ? storable(outcome.error) : null;
  const failed = { status: 'failed', last_error, updated_at: now } as const;
  const unused = Math.max(0, message.attempts - 1);
  switch (outcome.kind) {
    case 'sent': {
      const history = historyWith(delivery, 'sent', null, now, worker, outcome.report);
      return { status: 'sent', queued: 0, last_error, history, updated_at: now };
    }
    case 'dead': {
      const attempts = Math.min(message.attempts, message.max_attempts);
      const history = historyWith(delivery, 'dead', last_error, now, worker, outcome.report);
      const position = outcome.blocks ? {} : { queued: 0 };
      return { ...position, status: 'dead', attempts, last_error, history, updated_at: now };
    }
    case 'retry': {
      const report = outcome.report && { ...outcome.report, next_at: toTimestamp(now + outcome.delayMs) };
      const history = historyWith(delivery, 'failed', last_error, now, worker, report);
      return { ...failed, available_in: outcome.delayMs, claimable_in: outcome.delayMs, history };
    }
    case 'postponed': {
      const delayMs = Math.max(0, Math.min(outcome.until, LATEST_RETRY) - now);
      return { ...failed, available_in: delayMs, claimable_in: delayMs, attempts: unused };
    }
    case 'discarded':
      return { status: 'discarded', queued: 0, last_error, attempts: unused, updated_at: now };
    case 'released':
      return { status: 'pending', attempts: unused, claimable_in: 0, updated_at: now };
  }
}

/** Replaces NUL and lone surrogates, which the engines cannot store in a text. */
function storable(error: string): string {
  return error.slice(0, ERROR_LENGTH).replaceAll('\0', '\uFFFD').toWellFormed();
}
