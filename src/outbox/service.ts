import { isDeepStrictEqual } from 'node:util';
import type { Clock, NewUid } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import { EVENT_TOPICS } from '../events/envelope.ts';
import type { EventLog, EventMessage } from '../events/service.ts';
import { insertMessages, promoteNext, requeue } from './lease-repository.ts';
import type { MessageRow } from './leased-delivery.ts';
import { toMessages } from './message.ts';
import { createOutboxMonitor } from './monitor.ts';
import {
  countSent,
  findCopy,
  findMessage,
  insertSent,
  lastPosition,
  listDead,
  listMessages,
  pausedTopics,
  setPaused,
  updateMessage,
} from './repository.ts';
import type { Message, MessageDetail, MessageQuery, NewMessage } from './schemas.ts';

export type Outbox = ReturnType<typeof createOutbox>;

interface Dependencies {
  db: Database;
  clock: Clock;
  newUid: NewUid;
  events: Pick<EventLog, 'at'>;
  maxAttempts: number;
  /**
   * Whether an event of this topic needs a delivery: a handler subscribes to it, here or perhaps in another process.
   */
  isSubscribed: (topic: string) => boolean;
  commits: CommitNotifier;
}

/** Dead messages that one replay transaction reads at most, how long it may replay them, and how many at once. */
const REPLAY_BATCH = 100;
const REPLAY_MS = 20;
const REPLAY_CHUNK = 20;
const MORE = new Error('There is more to replay.');

/** The callers' side of the outbox: publish, list, replay and discard messages. delivery-service.ts delivers them. */
export function createOutbox(dependencies: Dependencies) {
  const { db, clock, newUid, events, maxAttempts, isSubscribed, commits } = dependencies;
  const published = () => commits.notify('event', 'claimable');

  async function view(reader: Reader, row: MessageRow): Promise<Message> {
    const [message] = await toMessages(events, reader, [row]);
    return message as Message;
  }

  async function required(reader: Reader, messageId: string): Promise<MessageRow> {
    const row = await findMessage(reader, messageId);
    if (!row) throw new Refusal('MESSAGE_NOT_FOUND', `There is no message ${messageId}.`);
    return row;
  }

  /** Replays the next dead messages of a topic (undefined: of any) and answers how many, and up to where it has looked. */
  async function replaySome(
    tx: Tx,
    topic: string | undefined,
    range: { from: number; upTo: number },
  ): Promise<{ count: number; from: number }> {
    const began = performance.now();
    let count = 0;
    let { from } = range;
    const dead = await listDead(tx, range, REPLAY_BATCH);
    while (dead.length > 0 && (count === 0 || performance.now() - began < REPLAY_MS)) {
      const some = dead.splice(0, REPLAY_CHUNK);
      const chosen = some.filter(row => topic === undefined || row.topic === topic);
      if (chosen.length > 0) requeue(tx, chosen, clock.now());
      from = some.at(-1)?.position ?? from;
      count += chosen.length;
    }
    if (count > 0) tx.afterCommit(published);
    return { count, from };
  }

  /**
   * Publishes a message. A repeated `message_id` with the same content answers the stored message.
   * @throws Refusal RESERVED_TOPIC, MESSAGE_EXISTS
   */
  async function publish(tx: Tx, body: NewMessage): Promise<{ message: Message; created: boolean }> {
    const { topic, payload, message_id, available_at } = body;
    const message_key = body.message_key ?? null;
    if (topic.startsWith(EVENT_TOPICS)) {
      throw new Refusal('RESERVED_TOPIC', `Topics that begin with ${EVENT_TOPICS} carry the service's own events.`);
    }
    const id = message_id ?? `msg_${newUid()}`;
    const existing = message_id ? await findMessage(tx, id) : undefined;
    if (existing) {
      const message = await view(tx, existing);
      const same = message.topic === topic && message.message_key === message_key;
      if (same && isDeepStrictEqual(message.payload, JSON.parse(JSON.stringify(payload))))
        return { message, created: false };
      throw new Refusal('MESSAGE_EXISTS', `The message ${id} exists with other content.`);
    }
    const copy = message_id ? await findCopy(tx, id) : undefined;
    if (copy) {
      const detail = `The message ${id} was published before, and its copy for ${copy.consumer} is still kept.`;
      throw new Refusal('MESSAGE_EXISTS', detail);
    }
    const content = { message_id: id, topic, message_key, payload: JSON.stringify(payload), event_sequence: null };
    const at = available_at === undefined ? undefined : db.leaseTime(Date.parse(available_at));
    insertMessages(tx, [{ ...content, ...newMessage(tx), available_at: at }]);
    tx.afterCommit(published);
    return { message: await view(tx, await required(tx, id)), created: true };
  }

  /** The columns that all new messages share. */
  function newMessage({ traceparent, tokenId }: Tx) {
    const cause = { traceparent, token_id: tokenId };
    return { consumer: null, origin_id: null, max_attempts: maxAttempts, created_at: clock.now(), ...cause };
  }

  return {
    ...createOutboxMonitor({ db, clock }),

    publish,

    /** The message as it is now. @throws Refusal MESSAGE_NOT_FOUND */
    async current(reader: Reader, messageId: string): Promise<Message> {
      return view(reader, await required(reader, messageId));
    },

    /**
     * Stores the messages of events in the events' transaction. A message without a possible subscriber is stored as
     * sent, unless its topic is paused.
     */
    async enqueue(tx: Tx, messages: EventMessage[]): Promise<void> {
      const common = { payload: null, ...newMessage(tx) };
      const rows = messages.map(message => ({ ...message, ...common }));
      const unsubscribed = rows.filter(({ topic }) => !isSubscribed(topic));
      const paused = unsubscribed.length > 0 ? await pausedTopics(tx) : [];
      const sent = unsubscribed.filter(({ topic }) => !paused.includes(topic));
      const claimable = rows.filter(row => !sent.includes(row));
      insertMessages(tx, claimable);
      insertSent(tx, sent);
      for (const { topic } of sent) countSent(tx, topic);
      tx.afterCommit(claimable.length > 0 ? published : () => commits.notify('event'));
    },

    /** @throws Refusal MESSAGE_NOT_FOUND */
    async get(messageId: string): Promise<MessageDetail> {
      const row = await required(db.read, messageId);
      const { traceparent, history } = row;
      return { ...(await view(db.read, row)), traceparent, attempt_history: JSON.parse(history) };
    },

    /** Oldest first. @throws Refusal INVALID_CURSOR */
    async list({ limit = 50, cursor, ...filter }: MessageQuery): Promise<Page<Message>> {
      return readPage({
        list: 'outbox',
        cursor,
        shape: [0],
        limit,
        read: (from, count) => listMessages(db.read, { ...filter, from: from?.[0] ?? 0 }, count),
        keyOf: row => [row.position],
        views: rows => toMessages(events, db.read, rows),
      });
    },

    /**
     * Replays a dead message: next generation, no attempts used, history kept.
     * @throws Refusal MESSAGE_NOT_FOUND, MESSAGE_STATUS_CONFLICT
     */
    async replay(tx: Tx, messageId: string): Promise<Message> {
      const row = await required(tx, messageId);
      if (row.status !== 'dead') throw wrongStatus(row, 'Only a dead message can be replayed');
      requeue(tx, [row], clock.now());
      tx.afterCommit(published);
      return view(tx, await required(tx, messageId));
    },

    /**
     * Replays all messages that are dead at the call, or those of one topic, in small transactions. A message that dies
     * again meanwhile stays dead.
     * @param last runs the last transaction, whose work answers the number of replayed messages
     */
    async replayDead<T>(
      topic: string | undefined,
      last: (work: (tx: Tx) => Promise<number>) => Promise<T>,
    ): Promise<T> {
      const upTo = await lastPosition(db.read);
      let from = 0;
      let replayed = 0;
      const finish = async (tx: Tx): Promise<number> => {
        if ((await listDead(tx, { from, upTo }, 1)).length > 0) throw MORE;
        return replayed;
      };
      for (;;) {
        try {
          return await last(finish);
        } catch (error) {
          if (error !== MORE) throw error;
        }
        const done = await db.write(tx => replaySome(tx, topic, { from, upTo }));
        replayed += done.count;
        from = done.from;
      }
    },

    /**
     * Discards a message that is not being handled; its lane goes on. Discarding twice has one effect.
     * @throws Refusal MESSAGE_NOT_FOUND, MESSAGE_STATUS_CONFLICT
     */
    async discard(tx: Tx, messageId: string): Promise<Message> {
      const row = await required(tx, messageId);
      if (row.status === 'discarded') return view(tx, row);
      if (row.status === 'processing') throw wrongStatus(row, 'A message that is being handled cannot be discarded');
      if (row.status === 'sent') throw wrongStatus(row, 'A message that was sent cannot be discarded');
      const isHead = row.claimable_at !== null || row.parked !== null || row.status === 'dead';
      const unclaimable = { lane: null, claimable_at: null, parked: null, updated_at: clock.now() };
      await updateMessage(tx, row.position, { status: 'discarded', ...unclaimable });
      if (isHead && row.lane !== null) promoteNext(tx, [row.lane]);
      tx.afterCommit(published);
      return view(tx, await required(tx, messageId));
    },

    /** Pauses a topic in all processes: claimed messages finish, and no further ones are claimed until resume. */
    pause: (tx: Tx, topic: string): Promise<void> => setPaused(tx, topic, 1),
  };
}

function wrongStatus({ message_id, status }: MessageRow, rule: string): Refusal {
  return new Refusal('MESSAGE_STATUS_CONFLICT', `${rule}; ${message_id} is ${status}.`, { message_status: status });
}
