import { type Actor, actorText, parseActor } from '../actor.ts';
import { toTimestamp, toTimestampOrNull } from '../clock.ts';
import type { Erasable } from '../db/erasing.ts';
import type { Row } from '../db/schema.ts';
import { Refusal } from '../errors.ts';
import type { EventType } from '../events/event-types.ts';
import type { Event } from '../events/schemas.ts';
import type { EventDraft } from '../events/service.ts';
import { type Priority, priorities, priorityAt, priorityRank } from '../priority.ts';
import type { Post, Thread } from './schemas.ts';

export const threadStates = ['new', 'triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'] as const;
export type ThreadState = (typeof threadStates)[number];

/** The allowed moves from each state. A move to the current state is always allowed and changes nothing. */
export const moves: Record<ThreadState, readonly ThreadState[]> = {
  new: ['triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'],
  triaged: ['waiting_operator', 'waiting_human', 'answered', 'closed'],
  waiting_operator: ['waiting_human', 'answered', 'triaged', 'closed'],
  waiting_human: ['waiting_operator', 'answered', 'triaged', 'closed'],
  answered: ['waiting_operator', 'waiting_human', 'closed'],
  closed: [],
};

/**
 * Checks a move. A thread with open questions may only move to `waiting_operator` or `closed`.
 * @param openQuestions the number of open questions in the thread
 * @throws Refusal THREAD_CLOSED; TRANSITION_NOT_ALLOWED, whose `allowed` lists the allowed states
 */
function assertMove(from: ThreadState, to: ThreadState, openQuestions: number): void {
  if (from === to) return;
  if (from === 'closed') throw new Refusal('THREAD_CLOSED', 'The thread is closed and cannot change.');
  const hasOpenQuestions = openQuestions > 0;
  const allowed = hasOpenQuestions
    ? moves[from].filter(state => state === 'waiting_operator' || state === 'closed')
    : moves[from];
  if (allowed.includes(to)) return;
  const subject = hasOpenQuestions ? 'A control thread with open questions' : `A thread in state ${from}`;
  throw new Refusal('TRANSITION_NOT_ALLOWED', `${subject} can move to ${allowed.join(', ')}.`, { allowed });
}

/** A stored thread. Times are milliseconds since the epoch; `priority` is a rank (0 is `urgent`). */
export type ThreadRow = Row<'threads'> & Erasable;

/** The reserved id prefix of control threads. Callers cannot choose such an id (`RESERVED_THREAD_ID`). */
export const CONTROL_PREFIX = 'fctrl-';

/** Sequences stay below this number. A place stays below 2^53, so JavaScript numbers hold it exactly. */
const SEQUENCES = 2 ** 48;

/**
 * The place of a thread: the number by which lists sort, ascending. More urgent threads come first; within a priority,
 * the thread with the latest event comes first.
 *
 * Example: a `normal` thread (rank 2) with latest event 40 has place 2·2^48 - 40. Event 41 in it gives place
 * 2·2^48 - 41, before all other `normal` threads and after all `high` ones (at most 1·2^48 - 1).
 *
 * Places are unique and never reused: every event belongs to one thread, and sequences only grow. Cursors of lists and
 * ranges of seen threads depend on this.
 * @param priority a rank; 0 is `urgent`
 * @param lastSequence the sequence of the thread's latest event
 */
export function placeOf(priority: number, lastSequence: number): number {
  return priority * SEQUENCES - lastSequence;
}

/** The places of one priority (a rank): above < place < below. */
export function rangeOfPriority(priority: number): { above: number; below: number } {
  return { above: (priority - 1) * SEQUENCES, below: priority * SEQUENCES };
}

/** The places of all threads with an event after `sequence`, one range per priority: above < place < below. */
export function rangesSince(sequence: number): { above: number; below: number }[] {
  return priorities.map((_priority, rank) => ({ above: (rank - 1) * SEQUENCES, below: rank * SEQUENCES - sequence }));
}

/** The attributes of a thread before its first event. `now`: milliseconds since the epoch. */
export type ThreadSeed = Pick<
  ThreadRow,
  'thread_id' | 'kind' | 'title' | 'priority' | 'ticket' | 'run_id' | 'agent_name'
> & {
  actor: Actor;
  now: number;
};

/** A row of a thread without events, not stored yet (version 0). `project` applies the first events to it. */
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
    awaits_person: 0,
    version: 0,
  };
}

/** Applies appended events to a thread. The version rises by one per call, whatever the number of events. */
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
  next.awaits_person = awaitsPerson(thread, drafts) ? 1 : 0;
  return { ...next, place: placeOf(next.priority, next.last_sequence) };
}

/**
 * Whether the thread waits for a person after these events, because a question expired: nobody has answered it. A
 * person's post or change of the state ends that.
 */
export function awaitsPerson(thread: Pick<ThreadRow, 'awaits_person'>, drafts: readonly EventDraft[]): boolean {
  return drafts.reduce((awaits, { event_type, actor }) => {
    if (event_type === 'forum.question.expired') return true;
    return awaits && !(isPerson(actor) && ATTENDING.includes(event_type));
  }, thread.awaits_person === 1);
}

const ATTENDING: readonly EventType[] = ['forum.post.added', 'forum.control.signal', 'forum.state.changed'];

export function isPerson({ type }: Actor): boolean {
  return type === 'operator' || type === 'human';
}

/** Changes `next` as one event demands. */
function apply(next: ThreadRow, { event_type, actor, payload, occurred_at }: EventDraft, sequence: number): void {
  switch (event_type) {
    case 'forum.post.added':
    case 'forum.control.signal':
      next.posts_count += 1;
      if (actor.type === 'agent') next.last_agent_post = sequence;
      if (isPerson(actor)) next.last_human_post = sequence;
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

/** An event type and its payload. */
export type Step = [EventType, EventDraft['payload']];

/**
 * The events that move a thread to a state; none if it is in that state.
 * @throws Refusal THREAD_CLOSED, TRANSITION_NOT_ALLOWED
 */
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

/** An agent wrote the latest post, and no answer followed. A move to `answered` counts as an answer. */
function isUnanswered(row: ThreadRow): boolean {
  return !isClosed(row) && row.last_agent_post > Math.max(row.last_human_post, row.last_answered);
}

/** @param unseen whether the viewer has not seen the thread's latest event; left out in requests without `viewer` */
export function toThread(row: ThreadRow, unseen?: boolean): Thread {
  // Only the titles of control threads have no text of anybody.
  const isErased = row.kind === 'discussion' && (Boolean(row.erasing) || row.title === '');
  return {
    thread_id: row.thread_id,
    kind: row.kind,
    title: isErased ? '' : row.title,
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
    ...(isErased && { erased: true }),
  };
}

type Readable = Pick<Event, 'event_id' | 'sequence' | 'thread_id' | 'actor' | 'occurred_at' | 'payload'>;

/** Whether an event carries text for people. */
export function isPost({ event_type }: { event_type: string }): boolean {
  return event_type === 'forum.post.added' || event_type === 'forum.control.signal';
}

/** A post is the readable side of an event; nothing of it is stored twice. */
export function toPost(event: Readable): Post {
  const { event_id, sequence, thread_id, actor, occurred_at, payload } = event;
  return {
    post_id: event_id.replace('evt_', 'post_'),
    thread_id: thread_id as string,
    sequence,
    body: bodyOf(payload),
    actor,
    created_at: occurred_at,
    control_type: (payload.control_type as string | undefined) ?? null,
    signal_id: (payload.signal_id as string | undefined) ?? null,
  };
}

/**
 * The text of an event that is a post. A signal of another type than these carries its own, in `text`: its draft knows best
 * how it reads.
 */
export function bodyOf(payload: Record<string, unknown>): string {
  switch (payload.control_type) {
    case undefined:
      return String(payload.body);
    case 'guidance_request':
      return String(payload.question);
    case 'guidance_answer':
      return String(payload.answer);
    case 'completion':
      return String(payload.summary ?? 'Completed.');
    case 'validation':
      return `Validation ${payload.status}: ${payload.done_criteria}`;
    default:
      return String(payload.text ?? `Control signal ${payload.control_type}.`);
  }
}

/** What an event of a control thread means for its agent. */
export type News =
  /** A question of the agent ended. An own replacement (`superseded`) is no news. */
  | { ended: string }
  /** The agent has received the end of a question. */
  | { received: string }
  /** Somebody has posted: news if it was a person, and a sign of life if it was the agent. */
  | { posted: Actor };

/** Undefined if the event means nothing for the agent. */
export function newsOf({
  event_type,
  actor,
  payload,
}: Pick<Event, 'event_type' | 'actor' | 'payload'>): News | undefined {
  switch (event_type) {
    case 'forum.question.answered':
    case 'forum.question.expired':
    case 'forum.question.cancelled':
      return { ended: String(payload.question_id) };
    case 'forum.question.acknowledged':
      return { received: String(payload.question_id) };
    case 'forum.post.added':
      return { posted: actor };
    default:
      return undefined;
  }
}

/** News, and when and as which event it came. */
export type DatedNews = News & Pick<EventDraft, 'occurred_at'> & { sequence: number };

/** What appended events mean for the agent of their thread. */
export function newsIn(drafts: readonly EventDraft[], sequences: readonly number[]): DatedNews[] {
  return drafts.flatMap((draft, index) => {
    const news = newsOf(draft);
    return news ? { ...news, occurred_at: draft.occurred_at, sequence: sequences[index] as number } : [];
  });
}

export function threadNotFound(threadId: string): Refusal {
  return new Refusal('THREAD_NOT_FOUND', `There is no thread ${threadId}.`);
}
