import { toTimestamp } from '../clock.ts';
import { parking } from './lane.ts';
import type { Delivery, EndedRow } from './leased-delivery.ts';
import type { Attempt, MessageStatus } from './schemas.ts';

/** How one attempt to handle a message ended. */
export type Outcome =
  /** Handled. `result`: what the handler says that it made (JSON); kept on the message. */
  | { kind: 'sent'; result?: string }
  /** Several handlers: each gets a message of its own, and this one is done. */
  | { kind: 'routed'; consumers: string[] }
  /** Failed; to be tried again after `delayMs`. */
  | { kind: 'retry'; delayMs: number; error: string }
  /** Asked for another time (epoch milliseconds); no attempt is used up. */
  | { kind: 'postponed'; until: number; error: string }
  /** No more attempts. `blocks`: its lane waits until somebody replays or discards it. */
  | { kind: 'dead'; error: string; blocks: boolean }
  /** Nobody handles the topic; it waits until somebody does, and no attempt is used up. */
  | { kind: 'unhandled'; error: string }
  /** The worker stops before the handler has ended; no attempt is used up. */
  | { kind: 'released' };

/** A delivery and how it ended. */
export interface Settlement {
  delivery: Delivery;
  outcome: Outcome;
}

/** Attempts kept per message. */
const HISTORY_KEPT = 20;
const ERROR_LENGTH = 2000;

/** The message is done: a handler has handled it, or each of several gets one of its own. */
type Done = Extract<Outcome, { kind: 'sent' | 'routed' }>;

export function isDone(outcome: Outcome): outcome is Done {
  return outcome.kind === 'sent' || outcome.kind === 'routed';
}

/** Whether the message leaves its lane to the next one. */
export function leavesLane(outcome: Outcome): boolean {
  return isDone(outcome) || (outcome.kind === 'dead' && !outcome.blocks);
}

/** The attempts of a message with the one that has just ended (JSON). */
export function historyWith(
  { message, claimedAt, history }: Delivery,
  outcome: MessageStatus,
  error: string | null,
  now: number,
  worker: string,
): string {
  const { attempts, generation } = message;
  const times = { started_at: toTimestamp(claimedAt), duration_ms: Math.max(0, now - claimedAt) };
  const attempt: Attempt = { attempt: attempts, generation, ...times, worker, outcome, error };
  return JSON.stringify([...history, attempt].slice(-HISTORY_KEPT));
}

/** What an outcome makes of the row of a message that is not done. */
export function changesOf(
  delivery: Delivery,
  outcome: Exclude<Outcome, Done>,
  now: number,
  worker: string,
): Partial<EndedRow> {
  const { message, consumer } = delivery;
  const last_error = 'error' in outcome ? storable(outcome.error) : null;
  const failed = { status: 'failed', last_error, updated_at: now } as const;
  const unused = Math.max(0, message.attempts - 1);
  switch (outcome.kind) {
    case 'dead': {
      const attempts = Math.min(message.attempts, message.max_attempts);
      const history = historyWith(delivery, 'dead', last_error, now, worker);
      const place = outcome.blocks ? {} : { lane: null };
      return { ...place, status: 'dead', attempts, last_error, history, updated_at: now };
    }
    case 'retry': {
      const history = historyWith(delivery, 'failed', last_error, now, worker);
      return { ...failed, available_in: outcome.delayMs, claimable_in: outcome.delayMs, history };
    }
    case 'postponed': {
      const delayMs = Math.max(0, outcome.until - now);
      return { ...failed, available_in: delayMs, claimable_in: delayMs, attempts: unused };
    }
    case 'unhandled':
      return { ...failed, parked: parking.handler(message.topic, consumer), attempts: unused };
    case 'released':
      return { status: 'pending', attempts: unused, claimable_in: 0, updated_at: now };
  }
}

/** What a handler throws may hold what cannot be stored: NUL, or half a character. */
function storable(error: string): string {
  return error.slice(0, ERROR_LENGTH).replaceAll('\0', '\uFFFD').toWellFormed();
}
