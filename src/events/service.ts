import { type Actor, actorText } from '../actor.ts';
import type { Clock, NewUid } from '../clock.ts';
import { decodeCursor, type Page, type PageRequest, toPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { eventTopic, toEvent } from './envelope.ts';
import {
  type EventFilter,
  findEvent,
  findEventsAt,
  insertEvents,
  latestSequence,
  listEvents,
  listPosts,
} from './repository.ts';
import type { Event, EventQuery } from './schemas.ts';

/** Every type that an event can have. */
export const eventTypes = [
  'forum.thread.opened',
  'forum.post.added',
  'forum.control.signal',
  'forum.assigned',
  'forum.state.changed',
  'forum.priority.changed',
  'forum.thread.closed',
  'forum.question.opened',
  'forum.question.answered',
  'forum.question.cancelled',
  'forum.question.superseded',
  'forum.question.expired',
  'forum.question.acknowledged',
  'forum.attempt.started',
  'forum.run.briefed',
  'forum.run.closed',
] as const;
export type EventType = (typeof eventTypes)[number];

/** One change, before the log gives it a sequence. */
export interface EventDraft {
  /** The unique part of its id; whatever else the same act makes (signal, question, post, message) shares it. */
  uid: string;
  event_type: EventType;
  occurred_at: number;
  /** Where it happens; a run's own events happen in no thread. */
  thread: { thread_id: string | null; run_id: string | null; agent_name: string | null; ticket: string | null };
  actor: Actor;
  correlation_id: string;
  causation_id: string | null;
  payload: Record<string, unknown>;
}

/** The message that carries an event to the topic handlers. */
export interface EventMessage {
  message_id: string;
  topic: string;
  message_key: string;
  event_sequence: number;
}

/** Takes the events' messages into the transaction that appends the events. */
type Publish = (tx: Tx, messages: EventMessage[]) => Promise<void>;

export type Events = ReturnType<typeof createEvents>;

interface Dependencies {
  db: Pick<Database, 'read'>;
  clock: Clock;
  newUid: NewUid;
  publish: Publish;
}

/** The append-only log. To append is to publish: no event commits without its message. */
export function createEvents({ db, clock, newUid, publish }: Dependencies) {
  /** What a transaction has appended or read: events never change, and who writes one mostly shows it, too. */
  const known = new WeakMap<Reader, Map<number, Event>>();

  function knownIn(reader: Reader): Map<number, Event> {
    const found = known.get(reader) ?? new Map<number, Event>();
    if (reader !== db.read) known.set(reader, found);
    return found;
  }

  return {
    /** The first event of an act: it starts a correlation of its own. */
    draft(
      thread: EventDraft['thread'],
      actor: Actor,
      event_type: EventType,
      payload: EventDraft['payload'],
    ): EventDraft {
      const uid = newUid();
      const correlation_id = `evt_${uid}`;
      return { uid, event_type, occurred_at: clock.now(), thread, actor, correlation_id, causation_id: null, payload };
    },

    /** An event that another one brings about: same thread, actor and moment, and a chain back to its cause. */
    follow(cause: EventDraft, event_type: EventType, payload: EventDraft['payload']): EventDraft {
      return { ...cause, uid: newUid(), event_type, causation_id: `evt_${cause.uid}`, payload };
    },

    /** Appends in the order given, enqueues one message per event, and answers the sequences in that order. */
    async append(tx: Tx, drafts: EventDraft[]): Promise<number[]> {
      const rows = drafts.map(toRow);
      const sequences = await insertEvents(tx, rows);
      const appended = knownIn(tx);
      rows.forEach((row, index) => {
        const sequence = sequences[index] as number;
        appended.set(sequence, toEvent({ ...row, sequence }, drafts[index]?.payload));
      });
      await publish(
        tx,
        drafts.map((draft, index) => ({
          message_id: `msg_${draft.uid}`,
          topic: eventTopic(draft.event_type),
          // The colon keeps runs apart from threads, whose ids have none.
          message_key: draft.thread.thread_id ?? `run:${draft.thread.run_id}`,
          event_sequence: sequences[index] as number,
        })),
      );
      return sequences;
    },

    async find(eventId: string): Promise<Event | undefined> {
      const row = await findEvent(db.read, eventId);
      return row && toEvent(row);
    },

    /** The events at these sequences (and perhaps others), by sequence. */
    async at(reader: Reader, sequences: number[]): Promise<Map<number, Event>> {
      const events = knownIn(reader);
      const rows = await findEventsAt(
        reader,
        sequences.filter(sequence => !events.has(sequence)),
      );
      for (const row of rows) events.set(row.sequence, toEvent(row));
      return events;
    },

    /** The sequence of the newest event; 0 before the first. */
    latest: (reader: Reader): Promise<number> => latestSequence(reader),

    /** The next events that fit a filter, oldest first, and the sequence up to which there are no others if these are all. */
    async after(
      sequence: number,
      filter: Omit<EventFilter, 'after'>,
      limit: number,
    ): Promise<{ items: Event[]; upTo: number }> {
      // Asked before: what is committed in between has a greater sequence.
      const upTo = await latestSequence(db.read);
      const rows = await listEvents(db.read, { ...filter, after: sequence }, limit);
      return { items: rows.map(row => toEvent(row)), upTo: rows.length < limit ? upTo : sequence };
    },

    /** Oldest first. `after` is where a reader starts; the cursor is where it goes on. */
    async list({ limit = 50, cursor, after = 0, ...filter }: EventQuery): Promise<Page<Event>> {
      const [from = after] = decodeCursor('events', cursor, [0] as const) ?? [];
      const rows = await listEvents(db.read, { ...filter, after: Math.max(after, from) }, limit + 1);
      const page = toPage('events', rows, limit, row => [row.sequence]);
      return { ...page, items: page.items.map(row => toEvent(row)) };
    },

    /** The events of a thread that carry text for people, oldest first. */
    async posts(reader: Reader, threadId: string, { limit = 50, cursor }: Partial<PageRequest>): Promise<Page<Event>> {
      const list = `posts of ${threadId}`;
      const [from = 0] = decodeCursor(list, cursor, [0] as const) ?? [];
      const rows = await listPosts(reader, threadId, from, limit + 1);
      const page = toPage(list, rows, limit, row => [row.sequence]);
      return { ...page, items: page.items.map(row => toEvent(row)) };
    },
  };
}

function toRow(draft: EventDraft) {
  return {
    event_id: `evt_${draft.uid}`,
    event_type: draft.event_type,
    event_version: 1,
    occurred_at: draft.occurred_at,
    thread_id: draft.thread.thread_id,
    run_id: draft.thread.run_id,
    ticket: draft.thread.ticket,
    agent_name: draft.thread.agent_name,
    actor: actorText(draft.actor),
    correlation_id: draft.correlation_id,
    causation_id: draft.causation_id,
    payload: JSON.stringify(draft.payload),
  };
}
