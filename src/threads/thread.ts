import { type Actor, actorText, parseActor } from '../actor.ts';
import { toTimestamp, toTimestampOrNull } from '../clock.ts';
import type { Row } from '../db/schema.ts';
import { Refusal } from '../errors.ts';
import type { EventDraft, EventType } from '../events/service.ts';
import { type Priority, priorities, priorityAt, priorityRank } from '../priority.ts';
import type { Thread } from './schemas.ts';
import { assertMove, type ThreadState } from './states.ts';

/** As it is stored. */
export type ThreadRow = Row<'threads'>;

/** What the ids of control threads begin with; callers cannot choose such an id. */
export const CONTROL_PREFIX = 'fctrl-';

/** More than there will ever be events. */
const SEQUENCES = 2 ** 48;

/**
 * Where a thread stands in lists, as one number: by priority, then the latest activity first. No two threads share one,
 * and what happens in a thread gives it one that none has had.
 */
export function placeOf(priority: number, lastSequence: number): number {
  return priority * SEQUENCES - lastSequence;
}

/** The places of one priority lie between these two, themselves left out. */
export function placesOf(priority: number): { above: number; below: number } {
  return { above: (priority - 1) * SEQUENCES, below: priority * SEQUENCES };
}

/** The places of threads in which something has happened since a sequence lie between such two, one pair per priority. */
export function placesSince(sequence: number): { above: number; below: number }[] {
  return priorities.map((_priority, rank) => ({ above: (rank - 1) * SEQUENCES, below: rank * SEQUENCES - sequence }));
}

/** What is known of a thread before its first event. */
export type ThreadSeed = Pick<
  ThreadRow,
  'thread_id' | 'kind' | 'title' | 'priority' | 'ticket' | 'run_id' | 'agent_name'
> & {
  actor: Actor;
  now: number;
};

/** A thread row that has not been stored: its events are projected onto it before it is. */
export function blankThread({ actor, now, ...seed }: ThreadSeed): ThreadRow {
  return {
    ...seed,
    state: 'new',
    assignee: null,
    opened_by: actorText(actor),
    opened_at: now,
    last_actor: actorText(actor),
    updated_at: now,
    closed_at: null,
    posts_count: 0,
    last_sequence: 0,
    last_agent_post: 0,
    last_human_post: 0,
    last_answered: 0,
    opened_sequence: 0,
    place: 0,
    open_questions: 0,
    version: 0,
  };
}

/** The thread after these events of its own, which have just been appended: one write, one new version. */
export function project(thread: ThreadRow, drafts: readonly EventDraft[], sequences: readonly number[]): ThreadRow {
  const next = { ...thread, version: thread.version + 1 };
  drafts.forEach((draft, index) => {
    const sequence = sequences[index] as number;
    if (next.opened_sequence === 0) next.opened_sequence = sequence;
    next.last_sequence = sequence;
    next.last_actor = actorText(draft.actor);
    next.updated_at = draft.occurred_at;
    next.ticket ??= draft.thread.ticket;
    apply(next, draft, sequence);
  });
  return { ...next, place: placeOf(next.priority, next.last_sequence) };
}

/** What one event changes in its thread. */
function apply(next: ThreadRow, { event_type, actor, payload, occurred_at }: EventDraft, sequence: number): void {
  switch (event_type) {
    case 'forum.post.added':
    case 'forum.control.signal':
      next.posts_count += 1;
      if (actor.type === 'agent') next.last_agent_post = sequence;
      if (actor.type === 'operator' || actor.type === 'human') next.last_human_post = sequence;
      break;
    case 'forum.state.changed':
      next.state = payload.to as ThreadState;
      if (next.state === 'answered') next.last_answered = sequence;
      break;
    case 'forum.priority.changed':
      next.priority = priorityRank(payload.to as Priority);
      break;
    case 'forum.assigned':
      next.assignee = payload.to as string | null;
      break;
    case 'forum.thread.closed':
      next.closed_at = occurred_at;
      break;
    case 'forum.question.opened':
      next.open_questions += 1;
      break;
    case 'forum.question.answered':
    case 'forum.question.cancelled':
    case 'forum.question.superseded':
    case 'forum.question.expired':
      next.open_questions -= 1;
      break;
    default:
  }
}

/** A kind of event and its payload. */
export type Step = [EventType, EventDraft['payload']];

/** What brings a thread to a state: nothing if it is there already. @throws Refusal if it may not go there */
export function stepsTo(row: ThreadRow, to: ThreadState, openQuestions = row.open_questions): Step[] {
  const from = row.state as ThreadState;
  if (from === to) return [];
  assertMove(from, to, openQuestions);
  const changed: Step = ['forum.state.changed', { from, to }];
  return to === 'closed' ? [changed, ['forum.thread.closed', {}]] : [changed];
}

export function isClosed(thread: Pick<ThreadRow, 'state'>): boolean {
  return thread.state === 'closed';
}

/** An agent wrote last, and nobody has answered since. */
function isUnanswered(row: ThreadRow): boolean {
  return !isClosed(row) && row.last_agent_post > Math.max(row.last_human_post, row.last_answered);
}

/** @param unseen whether it has something new for the viewer who asks; left out if nobody says who that is */
export function toThread(row: ThreadRow, unseen?: boolean): Thread {
  return {
    thread_id: row.thread_id,
    kind: row.kind,
    title: row.title,
    state: row.state as ThreadState,
    priority: priorityAt(row.priority),
    assignee: row.assignee,
    ticket: row.ticket,
    run_id: row.run_id,
    agent_name: row.agent_name,
    unanswered: isUnanswered(row),
    ...(unseen !== undefined && { unseen }),
    posts_count: row.posts_count,
    last_sequence: row.last_sequence,
    last_actor: parseActor(row.last_actor),
    opened_by: parseActor(row.opened_by),
    opened_at: toTimestamp(row.opened_at),
    updated_at: toTimestamp(row.updated_at),
    closed_at: toTimestampOrNull(row.closed_at),
    version: row.version,
  };
}

export function threadNotFound(threadId: string): Refusal {
  return new Refusal('THREAD_NOT_FOUND', `There is no thread ${threadId}.`);
}
