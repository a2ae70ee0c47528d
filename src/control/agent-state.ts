import { createHash } from 'node:crypto';
import type { Row } from '../db/schema.ts';
import { CONTROL_PREFIX } from '../threads/thread.ts';
import type { ControlStatus } from './schemas.ts';

/** As it is stored. */
export type ControlRow = Row<'control_threads'>;

/** What one act does to an agent's control state. */
export interface ControlChange {
  /** The question that the act opens. */
  opened?: string;
  /** The questions that it closes. */
  closed?: string[];
  /** How many of those ended in a way that the agent has to be told: answered, expired or cancelled. */
  ended?: number;
  /** How many such ends the agent says that it knows. */
  received?: number;
  /** The act's own event states that the agent is done. */
  completed?: true;
  /** The act's own event states how the work was validated. */
  validated?: 'passed' | 'failed';
  /** The validation was made against the criteria that the run asks for. */
  criteriaMet?: boolean;
  nextAttempt?: true;
}

/** An agent that has sent nothing yet. Version 0 means: not stored. */
export function blankControl(run_id: string, agent_name: string): ControlRow {
  return {
    run_id,
    agent_name,
    thread_id: controlThreadId(run_id, agent_name),
    attempt: 1,
    open_questions: '[]',
    completion_sequence: null,
    validation_sequence: null,
    validation_status: null,
    status: 'working',
    criteria_met: 0,
    unread: 0,
    version: 0,
  };
}

/**
 * The control state after an act whose own event has this sequence. Completion and validation may come in either order,
 * and the latest of each counts.
 */
export function changed(row: ControlRow, change: ControlChange, sequence: number): ControlRow {
  const open = openQuestions(row, change);
  const next = { ...row, open_questions: JSON.stringify(open), version: row.version + 1 };
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
  return { ...next, status: statusOf(next, open) };
}

function statusOf(row: ControlRow, open: string[]): ControlStatus {
  if (open.length > 0) return 'awaiting_guidance';
  if (row.validation_status === 'failed') return 'validation_failed';
  if (row.completion_sequence === null) return 'working';
  return row.validation_status === 'passed' ? 'validated' : 'completed';
}

/** The ids of the agent's open questions, oldest first; with a change, as they will be after it. */
export function openQuestions(row: ControlRow, { opened, closed }: ControlChange = {}): string[] {
  const open: string[] = JSON.parse(row.open_questions);
  return [...open.filter(id => !closed?.includes(id)), ...(opened ? [opened] : [])];
}

/**
 * The id of the one control thread of a pair. The readable part may collide; the hash of the exact pair does not.
 * JSON keeps the two names apart: no other pair has the same text.
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
