import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Actor, actorText, parseActor } from '../actor.ts';
import { type Clock, type NewUid, toTimestamp } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import { type Page, type PageRequest, readPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import type { Engine } from '../db/engine.ts';
import { erasedPayload } from './erased.ts';
import type { EventType } from './event-types.ts';
import { HeadCache, headOf } from './heads.ts';
import {
  continueAfter,
  type EventFilter,
  type EventOutline,
  type EventRow,
  findEvent,
  findEventsAt,
  insertEvents,
  insertEventsAt,
  latestSequence,
  listEvents,
  listOutlines,
  listPosts,
  listStored,
  listTaken,
  nextOpened,
  updatePayloads,
} from './repository.ts';
import type { Event, EventQuery } from './schemas.ts';

/** One change, before the log gives it a sequence. */
export interface EventDraft {
  /** The unique part of the event's id. The signal, question, post and message of the same act have it in theirs. */
  uid: string;
  event_type: EventType;
  /** Milliseconds since the epoch. */
  occurred_at: number;
  /** The thread of the event. `thread_id` is null for events of a run itself, and all of it for events of tokens. */
  thread: { thread_id: string | null; run_id: string | null; agent_name: string | null; ticket: string | null };
  actor: Actor;
  correlation_id: string;
  causation_id: string | null;
  payload: Record<string, unknown>;
}

export type { EventOutline } from './repository.ts';

/** The content of an event. */
export type Stored = Pick<Event, 'sequence' | 'event_type' | 'payload'>;

/** An event, and the trace of its request (W3C Trace Context). */
export interface Carried {
  event: Event;
  traceparent: string | null;
}

export type EventLog = ReturnType<typeof createEvents>;

interface Dependencies {
  db: Pick<Database, 'read'>;
  clock: Clock;
  newUid: NewUid;
  commits: CommitNotifier;
}

/** The size of the events whose texts are erased at once; one may be larger. Characters. */
const ERASED_CHARACTERS = 65_536;
/** Erasures that one look reads. */
const ERASED_READ = 100;
/** The number of events that are read at once for their heads; each may be large. */
const HEADS_PER_READ = 8;

/** Creates the append-only event log. It is the outbox of its events: outbox/fan-out.ts makes their deliveries from it. */
export function createEvents({ db, clock, newUid, commits }: Dependencies) {
  /** The events that a transaction has appended or read. Events never change, and a write mostly reads its own. */
  const caches = new WeakMap<Reader, Map<number, Event>>();
  const headCache = new HeadCache();
  /** The last event of an erasure that this process knows; undefined before the first look. */
  let erasedUpTo: number | undefined;

  function cacheOf(reader: Reader): Map<number, Event> {
    const cache = caches.get(reader) ?? new Map<number, Event>();
    // `db.read` lives as long as the process, so a cache of it would grow without end.
    if (reader !== db.read) caches.set(reader, cache);
    return cache;
  }

  /** The next events of a filter up to {@link latest}, which is read first: what commits in between is above it. */
  async function settled(filter: EventFilter, limit: number): Promise<{ rows: EventRow[]; upTo: number }> {
    const upTo = await latestSequence(db.read);
    const rows = await listEvents(db.read, filter, limit);
    return { rows: rows.filter(({ sequence }) => sequence <= upTo), upTo };
  }

  return {
    /** Drafts the first event of an act. It starts a new correlation. */
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

    /** Drafts an event caused by another, with the same thread, actor and time. `causation_id` names the cause. */
    follow(cause: EventDraft, event_type: EventType, payload: EventDraft['payload']): EventDraft {
      return { ...cause, uid: newUid(), event_type, causation_id: `evt_${cause.uid}`, payload };
    },

    /** Appends the events in this order. @returns their sequences, in the same order */
    async append(tx: Tx, drafts: EventDraft[]): Promise<number[]> {
      const rows = drafts.map(draft => toRow(draft, tx));
      const sequences = await insertEvents(tx, rows);
      const cache = cacheOf(tx);
      rows.forEach((row, index) => {
        const sequence = sequences[index] as number;
        cache.set(sequence, toEvent({ ...row, sequence }, drafts[index]?.payload));
      });
      const types = drafts.map(({ event_type }) => event_type);
      tx.afterCommit(() => commits.notify('event', types));
      return sequences;
    },

    /** Inserts the events of an import as they were: in their places, with their ids, times and tokens. */
    restore: (tx: Tx, engine: Engine, given: readonly Event[]): Promise<void> =>
      insertEventsAt(tx, engine, given.map(fromEvent)),

    /** The first of these events whose sequence or id another event has. */
    async firstTaken(tx: Tx, given: readonly Event[]): Promise<Event | undefined> {
      const sequences = given.map(({ sequence }) => sequence);
      const ids = given.map(({ event_id }) => event_id);
      const taken = await listTaken(tx, sequences, ids);
      return given.find(event =>
        taken.some(({ sequence, event_id }) => sequence === event.sequence || event_id === event.event_id),
      );
    },

    /** Lets the next event follow this sequence. */
    continueAfter: (tx: Tx, engine: Engine, sequence: number): Promise<void> => continueAfter(tx, engine, sequence),

    /** The event with this id, if it exists. */
    async find(reader: Reader, eventId: string): Promise<Event | undefined> {
      const row = await findEvent(reader, eventId);
      return row && toEvent(row);
    },

    /** The events at these sequences, by sequence. The map may hold others of the same transaction, too. */
    async at(reader: Reader, sequences: number[]): Promise<Map<number, Event>> {
      const events = cacheOf(reader);
      const rows = await findEventsAt(
        reader,
        sequences.filter(sequence => !events.has(sequence)),
      );
      for (const row of rows) events.set(row.sequence, toEvent(row));
      return events;
    },

    /**
     * The heads of the events at these sequences (see `headOf`), by sequence. An embedded event costs as little to read
     * as to send, however large it is.
     */
    async heads(reader: Reader, sequences: number[]): Promise<Map<number, Event>> {
      const own = cacheOf(reader);
      const heads = new Map<number, Event>();
      const missing: number[] = [];
      for (const sequence of sequences) {
        const event = own.get(sequence);
        const head = event ? { ...event, payload: headOf(event.payload) } : headCache.get(sequence);
        if (head) heads.set(sequence, head);
        else missing.push(sequence);
      }
      const { generation } = headCache;
      for (let start = 0; start < missing.length; start += HEADS_PER_READ) {
        // Reading large events takes long; other requests run in between.
        if (start > 0) await nextTurn();
        const read: Event[] = [];
        for (const row of await findEventsAt(reader, missing.slice(start, start + HEADS_PER_READ))) {
          const event = toEvent(row);
          read.push({ ...event, payload: headOf(event.payload) });
        }
        for (const head of read) heads.set(head.sequence, head);
        const keep = () => {
          if (headCache.generation === generation) for (const head of read) headCache.set(head);
        };
        // A transaction may read events of another work in its group, which are not committed yet.
        if (isTx(reader)) reader.afterCommit(keep);
        else keep();
      }
      return heads;
    },

    /**
     * Erases the texts of the next events of a run, oldest first: of fewer than `limit` if they are large.
     * @returns the events as they were; none at the end
     */
    async erase(tx: Tx, range: { run_id: string; after: number; before: number }, limit: number): Promise<Stored[]> {
      const rows = await listStored(tx, range, limit);
      let characters = 0;
      const few = rows.filter(({ payload }, index) => {
        characters += payload.length;
        return index === 0 || characters <= ERASED_CHARACTERS;
      });
      const events = few.map(row => ({ ...row, payload: JSON.parse(row.payload) as Event['payload'] }));
      const erased = events.map(({ sequence, event_type, payload }) => ({
        sequence,
        payload: JSON.stringify(erasedPayload(event_type, payload)),
      }));
      await updatePayloads(tx, erased);
      return events;
    },

    /** The next posts of a thread after a sequence, as they are stored. */
    async storedPosts(tx: Tx, threadId: string, after: number, limit: number): Promise<Stored[]> {
      const rows = await listPosts(tx, threadId, { after }, limit);
      return rows.map(({ sequence, event_type, payload }) => ({ sequence, event_type, payload: JSON.parse(payload) }));
    },

    /** The payloads of the events at these sequences, as they are stored, by sequence. */
    async storedPayloads(tx: Tx, sequences: number[]): Promise<Map<number, Event['payload']>> {
      const rows = await findEventsAt(tx, sequences);
      return new Map(rows.map(({ sequence, payload }) => [sequence, JSON.parse(payload)]));
    },

    /** The next thread of a run that was opened after a sequence, and the sequence of its first event. */
    nextOpened: (tx: Tx, run_id: string, after: number) => nextOpened(tx, run_id, after),

    /** Whether a run has an event after a sequence. */
    hasLater: async (tx: Tx, run_id: string, after: number): Promise<boolean> =>
      (await listEvents(tx, { run_id, after }, 1)).length > 0,

    /** Forgets what this process remembers of runs that other processes have erased since the last call. */
    async forgetErased(): Promise<void> {
      const upTo = await latestSequence(db.read);
      erasedUpTo ??= upTo;
      const filter = { after: erasedUpTo, event_type: 'forum.run.erased' };
      for (const { run_id, sequence } of await listEvents(db.read, filter, ERASED_READ)) {
        if (sequence > upTo) break;
        headCache.forget(run_id as string);
        erasedUpTo = sequence;
      }
    },

    /** Forgets what this process remembers of a run whose texts are erased. */
    forget: (run_id: string): void => headCache.forget(run_id),

    /** The events at these sequences with the traces of their requests (W3C Trace Context), by sequence. */
    async carried(reader: Reader, sequences: number[]): Promise<Map<number, Carried>> {
      const rows = await findEventsAt(reader, sequences);
      return new Map(rows.map(row => [row.sequence, { event: toEvent(row), traceparent: row.traceparent }]));
    },

    /** The outlines of the next events after a sequence, oldest first. Beyond {@link latest}, others may still come between. */
    outlines: (reader: Reader, after: number, limit: number): Promise<EventOutline[]> =>
      listOutlines(reader, after, limit),

    /**
     * The sequence of the last event before a time. It is as exact as the order of events by their times.
     * @param time epoch milliseconds
     */
    async sequenceBefore(reader: Reader, time: number): Promise<number> {
      let low = 0;
      for (let high = await latestSequence(reader); low < high; ) {
        const middle = Math.floor((low + high) / 2);
        const [event] = await listOutlines(reader, middle, 1);
        if (!event || event.sequence > high || event.occurred_at >= time) high = middle;
        else low = event.sequence;
      }
      return low;
    },

    /**
     * The sequence of the newest event that no other can still come before; 0 before the first. A reader of the
     * log asks for it first, outside of a snapshot, and then reads no further.
     */
    latest: (reader: Reader): Promise<number> => latestSequence(reader),

    /**
     * The next events that match a filter, oldest first.
     * @returns `upTo`: the sequence up to which the log has no further match beyond `items`
     */
    async after(
      sequence: number,
      filter: Omit<EventFilter, 'after'>,
      limit: number,
    ): Promise<{ items: Event[]; upTo: number }> {
      const { rows, upTo } = await settled({ ...filter, after: sequence }, limit);
      return { items: rows.map(row => toEvent(row)), upTo: rows.length < limit ? upTo : sequence };
    },

    /**
     * A page of events, oldest first unless `order` says otherwise, all of them after `after`.
     * @throws Refusal INVALID_CURSOR
     */
    async list({ limit = 50, cursor, after = 0, order, ...filter }: EventQuery): Promise<Page<Event>> {
      if (order === 'newest') {
        return readPage({
          list: 'events newest first',
          cursor,
          shape: [0],
          limit,
          read: async (from, count) => {
            const before = from?.[0] ?? (await latestSequence(db.read)) + 1;
            const rows = await listEvents(db.read, { ...filter, after, before }, count);
            return rows.filter(({ sequence }) => sequence > after);
          },
          keyOf: row => [row.sequence],
          views: rows => rows.map(row => toEvent(row)),
        });
      }
      return readPage({
        list: 'events',
        cursor,
        shape: [0],
        limit,
        read: async (from, count) => (await settled({ ...filter, after: Math.max(after, from?.[0] ?? 0) }, count)).rows,
        keyOf: row => [row.sequence],
        views: rows => rows.map(row => toEvent(row)),
      });
    },

    /** A page of a thread's events that are posts, oldest first unless `order` says otherwise. @throws Refusal INVALID_CURSOR */
    async posts(
      reader: Reader,
      threadId: string,
      { limit = 50, cursor, order }: Partial<PageRequest> & Pick<EventQuery, 'order'>,
    ): Promise<Page<Event>> {
      const isNewest = order === 'newest';
      return readPage({
        list: `posts of ${threadId}${isNewest ? ' newest first' : ''}`,
        cursor,
        shape: [0],
        limit,
        read: (from, count) => {
          const range = isNewest ? { before: from?.[0] ?? Number.MAX_SAFE_INTEGER } : { after: from?.[0] ?? 0 };
          return listPosts(reader, threadId, range, count);
        },
        keyOf: row => [row.sequence],
        views: rows => rows.map(row => toEvent(row)),
      });
    },
  };
}

function isTx(reader: Reader): reader is Tx {
  return 'afterCommit' in reader;
}

function toRow(draft: EventDraft, { tokenId: token_id, traceparent }: Tx) {
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
    token_id,
    traceparent,
  };
}

/**
 * Converts a row to the event that HTTP clients and topic handlers receive. While its run is being erased, only what will be
 * left of it.
 * @param payload the parsed payload, if the caller has it already
 */
function toEvent(row: EventRow, payload: Event['payload'] = payloadOf(row)): Event {
  return {
    event_id: row.event_id,
    sequence: row.sequence,
    event_type: row.event_type,
    event_version: row.event_version,
    occurred_at: toTimestamp(row.occurred_at),
    thread_id: row.thread_id,
    run_id: row.run_id,
    ticket: row.ticket,
    agent_name: row.agent_name,
    actor: parseActor(row.actor),
    correlation_id: row.correlation_id,
    causation_id: row.causation_id,
    token_id: row.token_id,
    payload,
  };
}

function payloadOf({ erasing, event_type, payload }: EventRow): Event['payload'] {
  const stored = JSON.parse(payload);
  // The event of the erasure itself has no text.
  return erasing && event_type !== 'forum.run.erased' ? erasedPayload(event_type, stored) : stored;
}

/** The row of an event that was exported. Its trace was not. */
function fromEvent({ occurred_at, actor, payload, ...event }: Event): Omit<EventRow, 'erasing'> {
  return {
    ...event,
    occurred_at: Date.parse(occurred_at),
    actor: actorText(actor),
    payload: JSON.stringify(payload),
    traceparent: null,
  };
}
