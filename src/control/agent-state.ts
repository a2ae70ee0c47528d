import { createHash } from 'node:crypto';
import type { Row } from '../db/schema.ts';
import { CONTROL_PREFIX } from '../threads/thread.ts';
import type { ControlStatus } from './schemas.ts';

/** An agent's control state as stored. */
export type ControlRow = Row<'control_threads'>;

/** An open question, and how many people must answer it. */
export type OpenQuestion = Pick<Row<'questions'>, 'question_id' | 'approvals_required'>;

/** The change that one act makes to a control state. */
export interface ControlChange {
  /** How many questions the act opens. */
  opened?: number;
  /** How many open questions it closes. */
  closed?: number;
  /** How many of these are news for the agent: answered, expired or cancelled. */
  ended?: number;
  /** How many such outcomes the agent acknowledges. */
  received?: number;
  /** The act's event is a completion. */
  completed?: true;
  /** The act's event is a validation with this status. */
  validated?: 'passed' | 'failed';
  /** The validation used the run's criteria. */
  criteriaMet?: boolean;
  nextAttempt?: true;
  /** The agent is withdrawn from its run at this time. Epoch milliseconds. */
  withdrawnAt?: number;
}

/** The state of an agent without signals. Version 0 means not stored yet. */
export function blankControl(run_id: string, agent_name: string): ControlRow {
  return {
    run_id,
    agent_name,
    thread_id: controlThreadId(run_id, agent_name),
    attempt: 1,
    open_questions_count: 0,
    completion_sequence: null,
    validation_sequence: null,
    validation_status: null,
    status: 'working',
    criteria_met: 0,
    unread: 0,
    version: 0,
    withdrawn_at: null,
    last_seen_at: null,
  };
}

/**
 * The control state after an act. `sequence` is that of the act's event. Completion and validation may arrive in either
 * order; the latest of each counts.
 */
export function changed(row: ControlRow, change: ControlChange, sequence: number): ControlRow {
  const next = { ...row, open_questions_count: openAfter(row, change), version: row.version + 1 };
  next.unread += (change.ended ?? 0) - (change.received ?? 0);
  if (change.completed) next.completion_sequence = sequence;
  if (change.validated) {
    next.validation_sequence = sequence;
    next.validation_status = change.validated;
    next.criteria_met = change.criteriaMet ? 1 : 0;
  }
  if (change.nextAttempt) {
    next.attempt += 1;
    next.completion_sequence = next.validation_sequence = next.validation_status = null;
  }
  if (change.withdrawnAt !== undefined) next.withdrawn_at = change.withdrawnAt;
  return { ...next, status: statusOf(next) };
}

function statusOf(row: ControlRow): ControlStatus {
  if (row.open_questions_count > 0) return 'awaiting_guidance';
  if (row.validation_status === 'failed') return 'validation_failed';
  if (row.completion_sequence === null) return 'working';
  return row.validation_status === 'passed' ? 'validated' : 'completed';
}

/** How many questions of the agent are open after a change. */
export function openAfter(row: ControlRow, { opened = 0, closed = 0 }: ControlChange): number {
  return row.open_questions_count + opened - closed;
}

/**
 * The id of the control thread of a run and an agent, such as `fctrl-run-7-builder-e0a6c3f1b2d49587`. The readable part may
 * collide; the hash of the exact pair does not. JSON separates the two names, so no other pair has the same text.
 */
export function controlThreadId(runId: string, agentName: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([runId, agentName]))
    .digest('hex')
    .slice(0, 16);
  return `${CONTROL_PREFIX}${readable(runId)}-${readable(agentName)}-${hash}`;
}

function readable(name: string): string {
  const cut = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/gu, '-')
    .slice(0, 48);
  return /[a-z0-9]/.test(cut) ? cut : 'unknown';
}
