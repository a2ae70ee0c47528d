import { createHash } from 'node:crypto';
import type { Row } from '../db/schema.ts';
import type { EventType } from '../events/event-types.ts';
import type { EventDraft } from '../events/service.ts';
import { CONTROL_PREFIX } from '../threads/thread.ts';
import { criteriaOf, type RunBrief } from './brief.ts';
import type { ControlStatus } from './schemas.ts';

/** An agent's control state as stored. */
export type ControlRow = Omit<Row<'control_threads'>, 'last_seen_hour'>;

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
  return { ...next, status: agentStatus(next) };
}

function agentStatus(row: ControlRow): ControlStatus {
  if (row.open_questions_count > 0) return 'awaiting_guidance';
  if (row.validation_status === 'failed') return 'validation_failed';
  if (row.completion_sequence === null) return 'working';
  return row.validation_status === 'passed' ? 'validated' : 'completed';
}

/** Events that change a control thread and nothing of its agent. */
const OF_THREAD: readonly EventType[] = [
  ...(['forum.post.added', 'forum.state.changed', 'forum.priority.changed', 'forum.assigned'] as const),
  'forum.thread.closed',
];

/** Whether an event of a control thread is part of an act that changes the control state, if only its version. */
export function isOfAgent({ event_type }: Pick<Acted, 'event_type'>): boolean {
  return !OF_THREAD.includes(event_type);
}

/** An event of a control thread, as far as the control state depends on it. */
export type Acted = Pick<EventDraft, 'event_type' | 'payload' | 'occurred_at'>;

/**
 * The change that the events of one act make to the control state. It lacks `received`, which depends on the questions.
 * @param brief of the run, by which a validation is measured
 */
export function changeOf(events: readonly Acted[], brief: RunBrief | null): ControlChange {
  return events.reduce<ControlChange>((change, event) => withEvent(change, event, brief), {});
}

function withEvent(change: ControlChange, { event_type, payload, occurred_at }: Acted, brief: RunBrief | null) {
  const { opened = 0, closed = 0, ended = 0 } = change;
  switch (event_type) {
    case 'forum.control.signal':
      return { ...change, ...reported(payload, brief) };
    case 'forum.question.opened':
      return { ...change, opened: opened + 1 };
    case 'forum.question.superseded':
      return { ...change, closed: closed + 1 };
    case 'forum.question.answered':
    case 'forum.question.expired':
    case 'forum.question.cancelled':
      return { ...change, closed: closed + 1, ended: ended + 1 };
    case 'forum.attempt.started':
      return { ...change, nextAttempt: true as const };
    case 'forum.agent.withdrawn':
      return { ...change, withdrawnAt: occurred_at };
    default:
      return change;
  }
}

/** The change that a completion or a validation makes. */
function reported(payload: Acted['payload'], brief: RunBrief | null): ControlChange {
  if (payload.control_type === 'completion') return { completed: true };
  if (payload.control_type !== 'validation') return {};
  const criteriaMet = criteriaOf(brief)(String(payload.done_criteria));
  return { validated: payload.status as 'passed' | 'failed', criteriaMet };
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

/** Whether the agent takes part in the run: it has sent a signal and is not withdrawn. */
export function isCounted(control: ControlRow): boolean {
  return control.version > 0 && control.withdrawn_at === null;
}

/** Whether the agent no longer blocks the run's gate. */
export function isClear(control: ControlRow): boolean {
  return isCounted(control) && control.status === 'validated' && control.criteria_met === 1;
}
