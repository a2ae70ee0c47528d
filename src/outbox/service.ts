import { isDeepStrictEqual } from 'node:util';
import { type Clock, LATEST_TIME, type NewUid } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import { EVENT_TOPICS, eventIdOf, eventTopic, messageKeyOf } from '../events/envelope.ts';
import { isErased } from '../events/erased.ts';
import type { EventLog } from '../events/service.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import type { Consumer } from '../subscriptions/subscription.ts';
import { nameIn } from '../text.ts';
import { insertDelivery, pausedTopics, promoteNext } from './delivery-repository.ts';
import { requeue, unmatchedTopics } from './lane-repository.ts';
import type { DeliveryRow } from './leased-delivery.ts';
import { payloadOf, readContents, stateOf, toMessage, withoutTexts } from './message.ts';
import { createOutboxMonitor } from './monitor.ts';
import {
  deleteUnmatched,
  findDeliveries,
  findErasedRun,
  findMessage,
  giveUnmatched,
  insertMessage,
  insertUnmatched,
  lastPosition,
  listDead,
  listDeliveries,
  type MessageRow,
  setPaused,
  updateDelivery,
} from './repository.ts';
import type { Message, MessageDetail, MessageQuery, MessageStatus, NewMessage } from './schemas.ts';

export type Outbox = ReturnType<typeof createOutbox>;

interface Dependencies {
  db: Database;
  clock: Clock;
  newUid: NewUid;
  events: Pick<EventLog, 'carried' | 'outlines' | 'latest' | 'find'>;
  subscriptions: SubscriptionService;
  maxAttempts: number;
  commits: CommitNotifier;
}

/** Topics that begin so carry commands to the service. */
export const COMMAND_TOPICS = 'forum.commands.';
/** Dead deliveries that one replay transaction reads at most, how long it may replay them, and how many at once. */
const REPLAY_BATCH = 100;
const REPLAY_MS = 20;
const REPLAY_CHUNK = 20;
const MORE = new Error('There is more to replay.');
/** Stored as the time of a message of an older version, which did not keep what its publisher gave. */
const UNKNOWN_TIME = -1;
/** From the least finished status to the most finished. */
const BY_PROGRESS: readonly MessageStatus[] = ['processing', 'pending', 'failed', 'dead', 'discarded', 'sent'];

/** A message, published or of an event, with its deliveries. */
interface Found {
  message_id: string;
  topic: string;
  message_key: string | null;
  payload: unknown;
  traceparent: string | null;
  /** Epoch milliseconds. */
  created_at: number;
  deliveries: DeliveryRow[];
  /** Consumers that will get the event, and have no delivery yet. */
  ahead: string[];
  /** Its run was erased. */
  erased: boolean;
}

/** The callers' side of the outbox: publish, list, replay and discard messages. delivery-service.ts delivers them. */
export function createOutbox(dependencies: Dependencies) {
  const { db, clock, newUid, events, subscriptions, maxAttempts, commits } = dependencies;
  const published = () => commits.notify('message');

  async function find(reader: Reader, messageId: string): Promise<Found | undefined> {
    const message = await findMessage(reader, messageId);
    if (message) return foundMessage(reader, message);
    const event = await events.find(reader, eventIdOf(messageId));
    if (!event) return undefined;
    const topic = eventTopic(event.event_type);
    const { sequence } = event;
    const following = await subscriptions.matching(reader, topic);
    return {
      message_id: messageId,
      topic,
      message_key: messageKeyOf(event),
      payload: event,
      traceparent: (await events.carried(reader, [sequence])).get(sequence)?.traceparent ?? null,
      created_at: Date.parse(event.occurred_at),
      deliveries: await findDeliveries(reader, { event_sequence: sequence }),
      ahead: isErased(event) ? [] : following.filter(({ position }) => position < sequence).map(({ name }) => name),
      erased: isErased(event),
    };
  }

  async function foundMessage(reader: Reader, row: MessageRow): Promise<Found> {
    const { number, ...message } = row;
    const deliveries = await findDeliveries(reader, { message_number: number });
    return { ...message, ...payloadOf(row), deliveries, ahead: [] };
  }

  async function required(reader: Reader, messageId: string): Promise<Found> {
    const found = await find(reader, messageId);
    // An event that nobody subscribes to is no message.
    if (!found || found.deliveries.length + found.ahead.length === 0) {
      throw new Refusal('MESSAGE_NOT_FOUND', `There is no message ${messageId}.`);
    }
    return found;
  }

  /** The message as it is now, with the fields of its least finished delivery. */
  async function view(reader: Reader, messageId: string): Promise<MessageDetail> {
    return viewOf(await required(reader, messageId), await subscriptions.names(reader));
  }

  function viewOf(found: Found, names: ReadonlyMap<number, string>): MessageDetail {
    const deliveries = [
      ...found.deliveries.map(found.erased ? withoutTexts : row => row).map(row => ({
        ...stateOf(row, nameOf(names, row), maxAttempts),
        attempt_history: JSON.parse(row.history),
      })),
      ...found.ahead.map(consumer => ({ ...untouched(found.created_at, consumer), attempt_history: [] })),
    ];
    const rank = ({ status }: { status: MessageStatus }) => BY_PROGRESS.indexOf(status);
    const [first] = deliveries.toSorted((a, b) => rank(a) - rank(b)) as [(typeof deliveries)[number]];
    const { message_id, topic, message_key, payload, traceparent } = found;
    return { message_id, topic, message_key, payload, traceparent, ...first, deliveries };
  }

  /** The state of a delivery that is not made yet. */
  function untouched(at: number, consumer: string) {
    const times = { available_at: at, created_at: at, updated_at: at };
    const state = { status: 'pending', attempts: 0, generation: 1, last_error: null, result: null } as const;
    return stateOf({ ...state, ...times } as DeliveryRow, consumer, maxAttempts);
  }

  /** The deliveries of a message that an operator means: of one consumer, or all. */
  async function chosen(tx: Tx, messageId: string, consumer: string | undefined): Promise<DeliveryRow[]> {
    const { deliveries, ahead } = await required(tx, messageId);
    if (consumer === undefined) return deliveries;
    const names = await subscriptions.names(tx);
    const own = deliveries.filter(row => nameOf(names, row) === consumer);
    if (own.length === 0 && !ahead.includes(consumer)) {
      throw new Refusal('MESSAGE_NOT_FOUND', `The message ${messageId} has no delivery for ${consumer}.`);
    }
    return own;
  }

  /** Replays the next dead deliveries of a topic (undefined: of any) and answers how many, and up to where it has looked. */
  async function replaySome(
    tx: Tx,
    { topic, subscription_id }: { topic: string | undefined; subscription_id: number | undefined },
    range: { from: number; upTo: number },
  ): Promise<{ count: number; from: number }> {
    const began = performance.now();
    let count = 0;
    let { from } = range;
    const dead = await listDead(tx, range, REPLAY_BATCH);
    while (dead.length > 0 && (count === 0 || performance.now() - began < REPLAY_MS)) {
      const some = dead.splice(0, REPLAY_CHUNK);
      const wanted = some.filter(
        row =>
          (topic === undefined || row.topic === topic) &&
          (subscription_id === undefined || row.subscription_id === subscription_id),
      );
      if (wanted.length > 0) requeue(tx, wanted, clock.now());
      from = some.at(-1)?.position ?? from;
      count += wanted.length;
    }
    if (count > 0) tx.afterCommit(published);
    return { count, from };
  }

  /**
   * Publishes a message. A repeated `message_id` with the same content answers the stored message.
   * @throws Refusal RESERVED_TOPIC, MESSAGE_EXISTS; RUN_ERASED for a command
   */
  async function publish(tx: Tx, body: NewMessage): Promise<{ message: MessageDetail; created: boolean }> {
    const { topic, payload, message_id, available_at } = body;
    const message_key = body.message_key ?? null;
    if (topic.startsWith(EVENT_TOPICS)) {
      throw new Refusal('RESERVED_TOPIC', `Topics that begin with ${EVENT_TOPICS} carry the service's own events.`);
    }
    const subject = subjectOf(payload);
    // It could have no effect, and nothing would erase its texts.
    const erased = topic.startsWith(COMMAND_TOPICS) ? await findErasedRun(tx, subject) : undefined;
    if (erased !== undefined) throw new Refusal('RUN_ERASED', `The run ${erased} was erased.`);
    const id = message_id ?? `msg_${newUid()}`;
    const at = available_at === undefined ? null : Date.parse(available_at);
    const text = JSON.stringify(payload);
    if (message_id !== undefined) {
      const existing = await findMessage(tx, id);
      if (existing && isSame(existing, { topic, message_key, text, at })) {
        return { message: await view(tx, id), created: false };
      }
      if (existing || (await events.find(tx, eventIdOf(id)))) {
        throw new Refusal('MESSAGE_EXISTS', `The message ${id} exists with other content.`);
      }
    }
    const created_at = clock.now();
    const cause = { created_at, traceparent: tx.traceparent, token_id: tx.tokenId };
    const content = { message_id: id, topic, message_key, payload: text, available_at: at };
    const message_number = await insertMessage(tx, { ...content, ...cause, ...subject });
    const due = at === null ? null : Math.min(db.leaseTime(at), LATEST_TIME);
    const delivery = { message_number, topic, message_key, available_at: due, created_at };
    const consumers = await subscriptions.matching(tx, topic);
    for (const { subscription_id } of consumers) insertDelivery(tx, { ...delivery, subscription_id });
    if (consumers.length === 0) await insertUnmatched(tx, { ...delivery, last_error: `no handler for topic ${topic}` });
    tx.afterCommit(published);
    const deliveries = await findDeliveries(tx, { message_number });
    const names = new Map(consumers.map(({ subscription_id, name }) => [subscription_id, name]));
    return {
      message: viewOf({ ...content, payload, ...cause, deliveries, ahead: [], erased: false }, names),
      created: true,
    };
  }

  return {
    ...createOutboxMonitor({ db, clock, events, subscriptions }),

    publish,

    /** The message as it is now. @throws Refusal MESSAGE_NOT_FOUND */
    current: view,

    /**
     * Registers the consumers of this process, and gives them the messages that no subscription matched so far.
     * @param serves whether this process handles their messages
     */
    async register(consumers: readonly Consumer[], serves: boolean): Promise<void> {
      await db.write(async tx => {
        const changed = await subscriptions.register(tx, consumers, serves);
        const waiting = changed.length > 0 ? await unmatchedTopics(tx) : [];
        const topics = waiting.filter(topic => changed.some(({ matches }) => matches(topic)));
        for (const { subscription_id, matches } of changed) {
          await giveUnmatched(tx, subscription_id, topics.filter(matches));
        }
        await deleteUnmatched(tx, topics);
      });
    },

    /** @throws Refusal MESSAGE_NOT_FOUND */
    get: (messageId: string): Promise<MessageDetail> => view(db.read, messageId),

    /** Deliveries, oldest first. @throws Refusal INVALID_CURSOR */
    async list({ limit = 50, cursor, consumer, ...filter }: MessageQuery): Promise<Page<Message>> {
      const names = await subscriptions.names(db.read);
      const subscription_id = consumer === undefined ? undefined : idOf(names, consumer);
      return readPage({
        list: 'outbox',
        cursor,
        shape: [0],
        limit,
        read: (from, count) => listDeliveries(db.read, { ...filter, subscription_id, from: from?.[0] ?? 0 }, count),
        keyOf: row => [row.position],
        views: async rows => {
          const contentOf = await readContents(events, db.read, rows);
          return rows.map(row => toMessage(row, contentOf(row), nameOf(names, row), maxAttempts));
        },
      });
    },

    /**
     * Replays the dead deliveries of a message: next generation, no attempts used, history kept.
     * @param consumer only the delivery of this one
     * @throws Refusal MESSAGE_NOT_FOUND, MESSAGE_STATUS_CONFLICT
     */
    async replay(tx: Tx, messageId: string, consumer?: string): Promise<MessageDetail> {
      const rows = await chosen(tx, messageId, consumer);
      const dead = rows.filter(({ status }) => status === 'dead');
      if (dead.length === 0) throw wrongStatus(messageId, rows, 'Only a dead message can be replayed');
      requeue(tx, dead, clock.now());
      tx.afterCommit(published);
      return view(tx, messageId);
    },

    /**
     * Replays all deliveries that are dead at the call, or those of one topic or consumer, in small transactions. One that
     * dies again meanwhile stays dead.
     * @param last runs the last transaction, whose work answers the number of replayed deliveries
     */
    async replayDead<T>(
      { topic, consumer }: { topic?: string | undefined; consumer?: string | undefined },
      last: (work: (tx: Tx) => Promise<number>) => Promise<T>,
    ): Promise<T> {
      const upTo = await lastPosition(db.read);
      const names = await subscriptions.names(db.read);
      const wanted = { topic, subscription_id: consumer === undefined ? undefined : idOf(names, consumer) };
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
        const done = await db.write(tx => replaySome(tx, wanted, { from, upTo }));
        replayed += done.count;
        from = done.from;
      }
    },

    /**
     * Discards the deliveries of a message that are neither sent nor being handled; their lanes go on. Discarding twice has
     * one effect.
     * @param consumer only the delivery of this one
     * @throws Refusal MESSAGE_NOT_FOUND, MESSAGE_STATUS_CONFLICT
     */
    async discard(tx: Tx, messageId: string, consumer?: string): Promise<MessageDetail> {
      const rows = await chosen(tx, messageId, consumer);
      if (rows.some(({ status }) => status === 'processing')) {
        throw wrongStatus(messageId, rows, 'A message that is being handled cannot be discarded');
      }
      const unfinished = rows.filter(({ status }) => status !== 'sent' && status !== 'discarded');
      if (rows.length === 0)
        throw wrongStatus(messageId, rows, 'An event that nobody has been given cannot be discarded');
      if (rows.every(({ status }) => status === 'sent')) {
        throw wrongStatus(messageId, rows, 'A message that was sent cannot be discarded');
      }
      for (const row of unfinished) {
        const isHead = row.claimable_at !== null || row.parked === 1 || row.status === 'dead';
        const left = { queued: 0, claimable_at: null, parked: 0, updated_at: clock.now() };
        await updateDelivery(tx, row.position, { status: 'discarded', ...left });
        if (isHead && row.queued === 1) await promoteNext(tx, [row.position]);
      }
      if (unfinished.length > 0) tx.afterCommit(published);
      return view(tx, messageId);
    },

    /** Pauses a topic in all processes: claimed messages finish, and no further ones are claimed until resume. */
    async pause(tx: Tx, topic: string): Promise<void> {
      if (!(await pausedTopics(tx)).includes(topic)) await setPaused(tx, topic, 1);
    },
  };
}

/** The run that a payload names, or else the thread. */
function subjectOf(payload: unknown): { run_id: string | null; thread_id: string | null } {
  const named = (payload ?? {}) as Record<string, unknown>;
  // A payload may say anything; what is no name is none of a run.
  const run_id = nameIn(named.run_id) ?? null;
  return { run_id, thread_id: run_id === null ? (nameIn(named.thread_id) ?? null) : null };
}

function isSame(
  stored: MessageRow,
  { topic, message_key, text, at }: { topic: string; message_key: string | null; text: string; at: number | null },
): boolean {
  const sameTime = stored.available_at === at || stored.available_at === UNKNOWN_TIME;
  const sameContent = isDeepStrictEqual(JSON.parse(stored.payload), JSON.parse(text));
  return stored.topic === topic && stored.message_key === message_key && sameTime && sameContent;
}

/** The id of the latest subscription with this name, since one may have been deleted and made again; 0 without any. */
function idOf(names: ReadonlyMap<number, string>, consumer: string): number {
  return Math.max(0, ...[...names].flatMap(([id, name]) => (name === consumer ? id : [])));
}

function nameOf(names: ReadonlyMap<number, string>, { subscription_id }: DeliveryRow): string | null {
  return subscription_id === null ? null : (names.get(subscription_id) ?? null);
}

function wrongStatus(messageId: string, rows: readonly DeliveryRow[], rule: string): Refusal {
  // Without a delivery yet, it waits to be given to its consumers.
  const status = BY_PROGRESS.find(status => rows.some(row => row.status === status)) ?? 'pending';
  return new Refusal('MESSAGE_STATUS_CONFLICT', `${rule}; ${messageId} is ${status}.`, { message_status: status });
}
