import { type Actor, actorText, parseActor } from '../actor.ts';
import { toTimestamp, toTimestampOrNull } from '../clock.ts';
import type { Row } from '../db/schema.ts';
import type { EventDraft } from '../events/service.ts';
import { priorityAt } from '../priority.ts';
import type { Thread } from './schemas.ts';
import type { ThreadState } from './states.ts';

/** As it is stored. */
export type ThreadRow = Row<'threads'>;

/** What the ids of control threads begin with; callers cannot choose such an id. */
export const CONTROL_PREFIX = 'fctrl-';

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
    version: 0,
  };
}

/** The thread after these events of its own, which have just been appended: one write, one new version. */
export function project(thread: ThreadRow, drafts: readonly EventDraft[], sequences: readonly number[]): ThreadRow {
  const next = { ...thread, version: thread.version + 1 };
  drafts.forEach((draft, index) => {
    const sequence = sequences[index] as number;
    next.last_sequence = sequence;
    next.last_actor = actorText(draft.actor);
    next.updated_at = draft.occurred_at;
    next.ticket ??= draft.thread.ticket;
    if (draft.event_type === 'forum.post.added' || draft.event_type === 'forum.control.signal') {
      next.posts_count += 1;
      if (draft.actor.type === 'agent') next.last_agent_post = sequence;
      if (draft.actor.type === 'operator' || draft.actor.type === 'human') next.last_human_post = sequence;
    }
    if (draft.event_type === 'forum.state.changed') {
      next.state = draft.payload.to as ThreadState;
      if (next.state === 'answered') next.last_answered = sequence;
    }
    if (draft.event_type === 'forum.thread.closed') next.closed_at = draft.occurred_at;
  });
  return next;
}

export function isClosed(thread: Pick<ThreadRow, 'state'>): boolean {
  return thread.state === 'closed';
}

export function toThread(row: ThreadRow): Thread {
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
    unanswered: !isClosed(row) && row.last_agent_post > Math.max(row.last_human_post, row.last_answered),
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
