import { isDeepStrictEqual } from 'node:util';
import { type Clock, type NewUid, toTimestamp, toTimestampOrNull } from '../clock.ts';
import { decodeCursor, type Page, toPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import type { Changes } from '../db/schema.ts';
import { Refusal } from '../errors.ts';
import { EVENT_TOPICS } from '../events/envelope.ts';
import type { EventMessage, Events } from '../events/service.ts';
import type { Delivery, Lease, Outcome } from './delivery.ts';
import {
  claimMessages,
  countMessages,
  countSent,
  endAllLeases,
  endLease,
  findMessage,
  insertMessages,
  listMessages,
  type MessageRow,
  oldestPending,
  parkedTopics,
  promoteNext,
  renewLeases,
  unpark,
} from './repository.ts';
import {
  type Attempt,
  type Message,
  type MessageDetail,
  type MessageQuery,
  type MessageStatus,
  messageStatuses,
  type NewMessage,
  type OutboxStats,
} from './schemas.ts';

export type Outbox = ReturnType<typeof createOutbox>;

interface Dependencies {
  db: Database;
  clock: Clock;
  newUid: NewUid;
  events: Pick<Events, 'at'>;
  /** Names this process in leases and attempt histories. */
  workerName: string;
  leaseMs: number;
  maxAttempts: number;
  /** Called after a commit that may have made a message claimable. */
  wake: () => void;
}

/** Attempts kept per message. */
const HISTORY_KEPT = 20;
const ERROR_LENGTH = 2000;
/** Messages that one transaction takes out of parking. */
const UNPARK_BATCH = 500;

/** Messages on their way: put in with the change they tell of, taken out under a lease, settled by whoever holds it. */
export function createOutbox({ db, clock, newUid, events, workerName, leaseMs, maxAttempts, wake }: Dependencies) {
  /** The rows as messages; the payload of an event's message is the event. */
  async function toMessages(reader: Reader, rows: MessageRow[]): Promise<Message[]> {
    const sequences = rows.map(row => row.event_sequence).filter(sequence => sequence !== null);
    const found = await events.at(reader, sequences);
    return rows.map(row =>
      toMessage(row, row.event_sequence === null ? JSON.parse(row.payload ?? 'null') : found.get(row.event_sequence)),
    );
  }

  /** Settles a delivery in `tx`. False, and nothing changed, if its lease has been lost. */
  async function settle(tx: Tx, delivery: Delivery, outcome: Outcome): Promise<boolean> {
    const { changes, leaves } = settled(delivery, outcome, clock.now(), workerName);
    const held = await endLease(tx, delivery.lease, {
      ...changes,
      // The lane goes on with its next message, or waits for this one.
      ...(leaves && { lane: null, claimable_at: null }),
    });
    if (!held) return false;
    if (leaves && delivery.lane !== null) await promoteNext(tx, delivery.lane);
    if (outcome.kind === 'sent') await countSent(tx, delivery.message.topic);
    tx.afterCommit(wake);
    return true;
  }

  return {
    /** Takes events' messages into the transaction of their events. */
    async enqueue(tx: Tx, messages: EventMessage[]): Promise<void> {
      const now = clock.now();
      const row = { payload: null, max_attempts: maxAttempts, created_at: now };
      await insertMessages(
        tx,
        messages.map(message => ({ ...message, ...row })),
      );
      tx.afterCommit(wake);
    },

    /** A repeated `message_id` with the same content answers the stored message. @throws Refusal RESERVED_TOPIC, MESSAGE_EXISTS */
    async publish(body: NewMessage): Promise<{ message: Message; created: boolean }> {
      const { topic, payload, message_id, available_at } = body;
      const message_key = body.message_key ?? null;
      if (topic.startsWith(EVENT_TOPICS)) {
        throw new Refusal('RESERVED_TOPIC', `Topics that begin with ${EVENT_TOPICS} carry the service's own events.`);
      }
      return db.write(async tx => {
        const id = message_id ?? `msg_${newUid()}`;
        const existing = message_id ? await findMessage(tx, id) : undefined;
        if (existing) {
          const [message] = (await toMessages(tx, [existing])) as [Message];
          const same =
            message.topic === topic &&
            message.message_key === message_key &&
            isDeepStrictEqual(message.payload, payload);
          if (same) return { message, created: false };
          throw new Refusal('MESSAGE_EXISTS', `The message ${id} exists with other content.`);
        }
        const at = available_at === undefined ? undefined : Date.parse(available_at);
        const row = { message_id: id, topic, message_key, payload: JSON.stringify(payload), event_sequence: null };
        await insertMessages(tx, [{ ...row, available_at: at, created_at: clock.now(), max_attempts: maxAttempts }]);
        tx.afterCommit(wake);
        const stored = (await findMessage(tx, id)) as MessageRow;
        return { message: toMessage(stored, payload), created: true };
      });
    },

    /** @throws Refusal MESSAGE_NOT_FOUND */
    async get(messageId: string): Promise<MessageDetail> {
      const row = await findMessage(db.read, messageId);
      if (!row) throw new Refusal('MESSAGE_NOT_FOUND', `There is no message ${messageId}.`);
      const [message] = (await toMessages(db.read, [row])) as [Message];
      return { ...message, attempt_history: JSON.parse(row.history) };
    },

    /** Oldest first. @throws Refusal INVALID_CURSOR */
    async list({ limit = 50, cursor, ...filter }: MessageQuery): Promise<Page<Message>> {
      const from = cursor ? decodeCursor(cursor, [0] as const)[0] : 0;
      const rows = await listMessages(db.read, { ...filter, from }, limit + 1);
      const page = toPage(
        rows,
        limit,
        row => [row.position],
        row => row,
      );
      return { items: await toMessages(db.read, page.items), next_cursor: page.next_cursor };
    },

    async stats(): Promise<OutboxStats> {
      const none = () =>
        Object.fromEntries(messageStatuses.map(status => [status, 0])) as Record<MessageStatus, number>;
      const by_status = none();
      const by_topic: Record<string, Record<MessageStatus, number>> = {};
      for (const { topic, status, count } of await countMessages(db.read)) {
        by_status[status] += count;
        by_topic[topic] ??= none();
        by_topic[topic][status] += count;
      }
      const oldest = await oldestPending(db.read);
      return {
        by_status,
        by_topic: Object.entries(by_topic)
          .map(([topic, counts]) => ({ topic, ...counts }))
          .sort((a, b) => (a.topic < b.topic ? -1 : 1)),
        oldest_pending_at: toTimestampOrNull(oldest),
        oldest_pending_age_seconds: oldest === null ? null : Math.max(0, (clock.now() - oldest) / 1000),
      };
    },

    /** The topics that have messages nobody handles. */
    topicsWithoutHandler: () => parkedTopics(db.read),

    /** Leases up to `limit` due messages to this process. */
    async claim(limit: number): Promise<Delivery[]> {
      const lease_token = newUid();
      const now = clock.now();
      const rows = await db.write(tx => claimMessages(tx, { limit, lease_token, leased_by: workerName, leaseMs, now }));
      const messages = await toMessages(db.read, rows);
      return rows.map((row, index) => ({
        lease: { position: row.position, lease_token },
        lane: row.lane,
        message: messages[index] as Message,
        claimedAt: now,
        history: JSON.parse(row.history),
      }));
    },

    /** Prolongs these leases and answers those that are still held. */
    async renew(leases: Lease[]): Promise<Lease[]> {
      return db.write(tx => renewLeases(tx, leases, leaseMs));
    },

    /** False, and nothing changed, if the lease has been lost. */
    async settle(delivery: Delivery, outcome: Outcome): Promise<boolean> {
      return db.write(tx => settle(tx, delivery, outcome));
    },

    /**
     * Runs `effect` in the transaction that marks the message sent: both happen, or neither.
     * False, and the effect not begun, if the lease has been lost.
     */
    async settleWith(delivery: Delivery, effect: (tx: Tx) => Promise<void>): Promise<boolean> {
      return db.write(async tx => {
        const held = await settle(tx, delivery, { kind: 'sent' });
        if (held) await effect(tx);
        return held;
      });
    },

    /** Lets messages be claimed again that waited for a handler, if their topic has one now. */
    async unparkHandled(isHandled: (topic: string) => boolean): Promise<void> {
      for (const topic of (await parkedTopics(db.read)).filter(isHandled)) {
        let freed: number;
        do freed = await db.write(tx => unpark(tx, topic, UNPARK_BATCH));
        while (freed === UNPARK_BATCH);
      }
    },

    /** Takes back what a killed predecessor had claimed. On SQLite only: the file's lock says that it is dead. */
    async takeBack(): Promise<number> {
      return db.engine === 'sqlite' ? db.write(endAllLeases) : 0;
    },
  };
}

/** What an outcome makes of a row, and whether the message leaves its lane. */
function settled(
  { message, claimedAt, history }: Delivery,
  outcome: Outcome,
  now: number,
  worker: string,
): { changes: Changes<'outbox'>; leaves: boolean } {
  const error = 'error' in outcome ? outcome.error.slice(0, ERROR_LENGTH) : null;
  const entry = (status: MessageStatus): string => {
    const { attempts, generation } = message;
    const times = { started_at: toTimestamp(claimedAt), duration_ms: Math.max(0, now - claimedAt) };
    const attempt: Attempt = { attempt: attempts, generation, ...times, worker, outcome: status, error };
    return JSON.stringify([...history, attempt].slice(-HISTORY_KEPT));
  };
  const unused = Math.max(0, message.attempts - 1);
  switch (outcome.kind) {
    case 'sent':
      return {
        leaves: true,
        changes: { status: 'sent', sent_at: now, updated_at: now, last_error: null, history: entry('sent') },
      };
    case 'dead': {
      const attempts = Math.min(message.attempts, message.max_attempts);
      return {
        leaves: true,
        changes: { status: 'dead', attempts, updated_at: now, last_error: error, history: entry('dead') },
      };
    }
    case 'retry': {
      const at = now + outcome.delayMs;
      const due = { available_at: at, claimable_at: at };
      return {
        leaves: false,
        changes: { ...due, status: 'failed', updated_at: now, last_error: error, history: entry('failed') },
      };
    }
    case 'postponed': {
      const due = { available_at: outcome.until, claimable_at: outcome.until, attempts: unused };
      return { leaves: false, changes: { ...due, status: 'failed', updated_at: now, last_error: error } };
    }
    case 'unhandled': {
      const held = { parked: 'no_handler' as const, claimable_at: null, attempts: unused };
      return { leaves: false, changes: { ...held, status: 'failed', updated_at: now, last_error: error } };
    }
    case 'released':
      return { leaves: false, changes: { status: 'pending', attempts: unused, claimable_at: now, updated_at: now } };
  }
}

function toMessage(row: MessageRow, payload: unknown): Message {
  return {
    message_id: row.message_id,
    topic: row.topic,
    message_key: row.message_key,
    payload,
    status: row.status,
    attempts: row.attempts,
    max_attempts: row.max_attempts,
    available_at: toTimestamp(row.available_at),
    last_error: row.last_error,
    generation: row.generation,
    created_at: toTimestamp(row.created_at),
    updated_at: toTimestamp(row.updated_at),
    sent_at: toTimestampOrNull(row.sent_at),
  };
}
