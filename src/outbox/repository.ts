import { type RawBuilder, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { type Erasable, erasingSubject } from '../db/erasing.ts';
import type { Changes, Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import type { DeliveryCount, DeliveryRow } from './leased-delivery.ts';

/** A published message. */
export type MessageRow = Row<'messages'> & Erasable;

const isErasing = erasingSubject('messages').as('erasing');

type NewMessageRow = Omit<MessageRow, 'number' | 'erasing'>;

/** Stores a published message and answers its number. */
export function insertMessage(tx: Tx, row: NewMessageRow): Promise<number> {
  return tx.insert(insertMessageStatement, row);
}

const insertMessageStatement = statement(({ query, values, returningKey }: StatementBuilder<NewMessageRow>) => {
  const content = ['message_id', 'topic', 'message_key', 'payload', 'available_at'] as const;
  const cause = ['created_at', 'traceparent', 'token_id'] as const;
  const row = values([...content, ...cause, 'run_id', 'thread_id']);
  return returningKey(query.insertInto('messages').values(row), 'number');
});

/** The run that a message is about, if that was erased. */
export async function findErasedRun(
  reader: Reader,
  subject: Pick<MessageRow, 'run_id' | 'thread_id'>,
): Promise<string | undefined> {
  return (await reader.first(erasedRunStatement, subject))?.run_id;
}

const erasedRunStatement = statement(({ query, value }: StatementBuilder<Pick<MessageRow, 'run_id' | 'thread_id'>>) => {
  const ofThread = sql`(select threads.run_id from threads where threads.thread_id = ${value('thread_id')})`;
  return query
    .selectFrom('runs')
    .select('run_id')
    .where('run_id', '=', sql<string>`coalesce(cast(${value('run_id')} as text), ${ofThread})`)
    .where('erased_at', 'is not', null);
});

export async function findMessage(reader: Reader, messageId: string): Promise<MessageRow | undefined> {
  const query = reader.query.selectFrom('messages').selectAll().select(isErasing);
  return query.where('message_id', '=', messageId).executeTakeFirst();
}

/** The published messages with these numbers. */
export async function listMessagesByNumber(reader: Reader, numbers: number[]): Promise<MessageRow[]> {
  return numbers.length === 0 ? [] : reader.all(messagesStatement, { numbers: JSON.stringify(numbers) });
}

const messagesStatement = statement(({ query, integerElements, among }: StatementBuilder<{ numbers: string }>) =>
  query
    .selectFrom('messages')
    .selectAll()
    .select(isErasing)
    .where(among('number', integerElements('numbers'))),
);

/** What a delivery carries: an event or a published message. */
export type Carried = { event_sequence: number } | { message_number: number };

/** The deliveries of an event or of a published message, oldest first. */
export async function findDeliveries(reader: Reader, source: Carried): Promise<DeliveryRow[]> {
  const query = reader.query.selectFrom('deliveries').selectAll().orderBy('position');
  return 'event_sequence' in source
    ? query.where('event_sequence', '=', source.event_sequence).execute()
    : query.where('message_number', '=', source.message_number).execute();
}

/** Stores the delivery of a published message that no subscription matches. */
export async function insertUnmatched(
  tx: Tx,
  row: Pick<DeliveryRow, 'message_number' | 'topic' | 'message_key' | 'created_at' | 'last_error'> & {
    available_at: number | null;
  },
): Promise<void> {
  const { available_at, ...content } = row;
  await tx.query
    .insertInto('deliveries')
    .values({
      ...content,
      ...{ queued: 0, status: 'failed', attempts: 0, generation: 1, history: '[]', updated_at: row.created_at },
      available_at: available_at === null ? tx.leaseNow : available_at,
    })
    .execute();
}

const unmatched = (topics: readonly string[]) =>
  sql`subscription_id is null and status in ('pending', 'failed', 'dead') and topic in (${sql.join(topics)})`;

/**
 * Gives a subscription its own deliveries of the messages of these topics that no subscription matched so far, in
 * order. They follow what the subscription has of their keys. The first of a key without a head can be claimed. What
 * was tried before keeps its state; a dead one may block its lane.
 */
export async function giveUnmatched(tx: Tx, subscription_id: number, topics: readonly string[]): Promise<void> {
  if (topics.length === 0) return;
  const untried = sql`attempts = 0 and status = 'failed'`;
  await sql`insert into deliveries (
      subscription_id, event_sequence, message_number, topic, message_key, queued, status, attempts, generation,
      available_at, claimable_at, last_error, history, result, created_at, updated_at)
    select cast(${subscription_id} as bigint), event_sequence, message_number, topic, message_key,
      case when message_key is null or (status = 'dead' and queued = 0) then 0 else 1 end,
      case when ${untried} then 'pending' else status end,
      attempts, generation, available_at,
      case when message_key is null and status <> 'dead' then available_at end,
      case when ${untried} then null else last_error end,
      history, result, created_at, updated_at
    from deliveries where ${unmatched(topics)} order by position`.execute(tx.query);
  await sql`update deliveries set claimable_at = available_at
    where position in (
      select min(position) from deliveries where subscription_id = ${subscription_id} and queued = 1 group by message_key
      having sum(case when claimable_at is not null or parked = 1 or status = 'dead' then 1 else 0 end) = 0)`.execute(
    tx.query,
  );
}

/** Deletes the deliveries of these topics that no subscription matched, after they were given to some. */
export async function deleteUnmatched(tx: Tx, topics: readonly string[]): Promise<void> {
  if (topics.length > 0) await sql`delete from deliveries where ${unmatched(topics)}`.execute(tx.query);
}

/** Updates a delivery that is not under a lease. */
export async function updateDelivery(tx: Tx, position: number, changes: Changes<'deliveries'>): Promise<void> {
  await tx.query.updateTable('deliveries').set(changes).where('position', '=', position).execute();
}

export async function setPaused(tx: Tx, topic: string, paused: 0 | 1): Promise<void> {
  await tx.query
    .insertInto('topics')
    .values({ topic, paused })
    .onConflict(conflict => conflict.column('topic').doUpdateSet({ paused }))
    .execute();
}

/** Lists dead deliveries after position `from` up to position `upTo`, oldest first. */
export async function listDead(
  reader: Reader,
  { from, upTo }: { from: number; upTo: number },
  limit: number,
): Promise<Pick<DeliveryRow, 'position' | 'topic' | 'subscription_id'>[]> {
  return reader.query
    .selectFrom('deliveries')
    .select(['position', 'topic', 'subscription_id'])
    .where('status', '=', 'dead')
    .where('status', '<>', sql.lit('sent'))
    .where('position', '>', from)
    .where('position', '<=', upTo)
    .orderBy('position')
    .limit(limit)
    .execute();
}

/** The position of the newest delivery; 0 before the first. */
export async function lastPosition(reader: Reader): Promise<number> {
  const newest = reader.query.selectFrom('deliveries').select('position').orderBy('position', 'desc').limit(1);
  return (await newest.executeTakeFirst())?.position ?? 0;
}

/** Lists deliveries, oldest first, after the position `from`. */
export async function listDeliveries(
  reader: Reader,
  filter: {
    status?: DeliveryRow['status'] | undefined;
    topic?: string | undefined;
    message_key?: string | undefined;
    subscription_id?: number | undefined;
    from: number;
  },
  limit: number,
): Promise<DeliveryRow[]> {
  const { status, topic, message_key, subscription_id, from } = filter;
  let query = reader.query.selectFrom('deliveries').selectAll().where('position', '>', from);
  if (topic !== undefined) query = query.where('topic', '=', topic);
  if (message_key !== undefined) query = query.where('message_key', '=', message_key);
  if (subscription_id !== undefined) query = query.where('subscription_id', '=', subscription_id);
  if (status !== undefined) query = query.where('status', '=', status);
  // SQLite uses the partial index only if the query repeats its condition.
  if (status !== undefined && status !== 'sent') query = query.where('status', '<>', sql.lit('sent'));
  return query.orderBy('position').limit(limit).execute();
}

/** Lists deliveries of a subscription, newest first, before a position. */
export async function listNewest(
  reader: Reader,
  filter: {
    subscription_id: number;
    status?: DeliveryRow['status'] | undefined;
    topic?: string | undefined;
    before: number | undefined;
  },
  limit: number,
): Promise<DeliveryRow[]> {
  const { subscription_id, status, topic, before } = filter;
  let query = reader.query.selectFrom('deliveries').selectAll().where('subscription_id', '=', subscription_id);
  if (before !== undefined) query = query.where('position', '<', before);
  if (topic !== undefined) query = query.where('topic', '=', topic);
  if (status !== undefined) query = query.where('status', '=', status);
  // SQLite uses the partial index of these only if the query repeats its condition; without it, few are found among many.
  if (status === 'dead' || status === 'discarded') query = query.where(endedUnsent);
  return query.orderBy('position', 'desc').limit(limit).execute();
}

export async function findDelivery(reader: Reader, position: number): Promise<DeliveryRow | undefined> {
  return reader.query.selectFrom('deliveries').selectAll().where('position', '=', position).executeTakeFirst();
}

/** The deliveries of these events for a subscription, oldest first. */
export async function deliveriesOfEvents(
  reader: Reader,
  subscription_id: number,
  sequences: number[],
): Promise<Pick<DeliveryRow, 'position' | 'event_sequence' | 'status' | 'last_error'>[]> {
  if (sequences.length === 0) return [];
  return reader.query
    .selectFrom('deliveries')
    .select(['position', 'event_sequence', 'status', 'last_error'])
    .where('event_sequence', 'in', sequences)
    .where('event_sequence', 'is not', null)
    .where('subscription_id', '=', subscription_id)
    .orderBy('position')
    .execute();
}

/** Whether a subscription has deliveries that have not ended, or that are dead. */
export async function hasUnfinished(reader: Reader, subscription_id: number): Promise<boolean> {
  const { rows } = await sql`${unfinishedOf(subscription_id, 1)} limit 1`.execute(reader.query);
  return rows.length > 0;
}

const endedUnsent = sql<boolean>`status in ('dead', 'discarded')`;

/**
 * The positions of some deliveries that have not ended, or that are dead. Each condition reads an index of its own, so that
 * what was sent before costs nothing.
 */
function unfinishedOf(subscription_id: number, limit: number) {
  const own = sql`subscription_id = ${subscription_id}`;
  // No index has the parked ones by subscription; with a sum SQLite does not read all that the subscription ever got.
  const among = sql`subscription_id + 0 = ${subscription_id}`;
  const conditions = [
    sql`${own} and queued = 1`,
    sql`${own} and claimable_at is not null`,
    sql`${own} and status = 'dead' and ${endedUnsent}`,
    sql`${among} and parked = 1`,
  ];
  const some = (condition: RawBuilder<unknown>) =>
    sql`select position from (select position from deliveries where ${condition} limit ${limit}) as branch`;
  return sql.join(conditions.map(some), sql` union `);
}

/** Lists the dead deliveries that block their lanes, by lane. */
export async function listBlocking(reader: Reader, limit: number): Promise<DeliveryRow[]> {
  return reader.query
    .selectFrom('deliveries')
    .selectAll()
    .where('status', '=', sql.lit('dead'))
    .where('queued', '=', sql.lit(1))
    .orderBy('subscription_id')
    .orderBy('message_key')
    .limit(limit)
    .execute();
}

/** Counts the lanes that dead deliveries block. */
export async function countBlocked(reader: Reader): Promise<number> {
  return (await reader.first(countBlockedStatement, {}))?.count ?? 0;
}

const countBlockedStatement = statement(({ query }: StatementBuilder<object>) =>
  query
    .selectFrom(eb =>
      eb
        .selectFrom('deliveries')
        .select(['subscription_id', 'message_key'])
        .distinct()
        .where('status', '=', sql.lit('dead'))
        .where('queued', '=', sql.lit(1))
        .as('branch'),
    )
    .select(eb => eb.fn.countAll<number>().as('count')),
);

/** All statuses but `sent`. */
export const UNSENT = ['pending', 'processing', 'failed', 'dead', 'discarded'] as const;
export type Unsent = (typeof UNSENT)[number];

/** Per status the position after which to count; `limit` is per status, `now` in epoch milliseconds. */
export type CountRange = Record<Unsent, number> & { limit: number; now: number };

/** Counts the next deliveries of each status by subscription and topic. `last` is the position of the last one counted. */
export async function countNext(reader: Reader, range: CountRange): Promise<(DeliveryCount & { last: number })[]> {
  return (await reader.all(countNextStatement, range)) as (DeliveryCount & { last: number })[];
}

// Reads only columns of the index deliveries_unsent.
const countNextStatement = statement(({ query, value }: StatementBuilder<CountRange>) => {
  const branches = UNSENT.map(
    status => sql`select * from (
      select status, topic, subscription_id, position, created_at, available_at from deliveries
      where status = ${sql.lit(status)} and status <> 'sent' and position > ${value(status)}
      order by position limit ${value('limit')}) as branch`,
  );
  return query
    .selectFrom(
      sql<{
        status: Unsent;
        topic: string;
        subscription_id: number | null;
        position: number;
      }>`(${sql.join(branches, sql` union all `)})`.as('branch'),
    )
    .select(['status', 'topic', 'subscription_id', eb => eb.fn.countAll<number>().as('count')])
    .select(eb => eb.fn.max<number>('position').as('last'))
    .select(sql<number | null>`min(case when available_at <= ${value('now')} then created_at end)`.as('oldest'))
    .groupBy(['status', 'topic', 'subscription_id']);
});

/** Counts the deliveries ever sent by topic, deleted ones included. */
export async function sentMessages(reader: Reader): Promise<{ topic: string; count: number }[]> {
  return reader.query.selectFrom('topics').select(['topic', 'sent as count']).where('sent', '>', 0).execute();
}

/**
 * Discards up to `limit` unfinished deliveries of a subscription, and answers how many.
 * @param now epoch milliseconds
 */
export async function discardSome(tx: Tx, subscription_id: number, now: number, limit: number): Promise<number> {
  const { numUpdatedRows } = await tx.query
    .updateTable('deliveries')
    .set({ status: 'discarded', queued: 0, claimable_at: null, parked: 0, updated_at: now })
    .set({ lease_token: null, leased_by: null })
    .where('position', 'in', sql<number>`(${unfinishedOf(subscription_id, limit)} limit ${limit})`)
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/**
 * Deletes sent and discarded deliveries last updated before `before` (epoch milliseconds) among the `limit` deliveries
 * after the position `from`. It also deletes published messages without any left. Answers the position for the next
 * call, or null when no older deliveries remain.
 */
export async function deleteDone(tx: Tx, from: number, before: number, limit: number): Promise<number | null> {
  const rows = await tx.query
    .selectFrom('deliveries')
    .select(['position', 'subscription_id', 'message_number', 'status', 'created_at', 'updated_at'])
    .where('position', '>', from)
    .orderBy('position')
    .limit(limit)
    .execute();
  const done = rows.filter(row => isDone(row) && row.updated_at < before);
  if (done.length > 0) {
    const positions = done.map(row => row.position);
    await tx.query.deleteFrom('deliveries').where('position', 'in', positions).execute();
    const numbers = done.map(row => row.message_number).filter(number => number !== null);
    if (numbers.length > 0) await deleteUndelivered(tx, [...new Set(numbers)]);
  }
  const last = rows.at(-1);
  return rows.length < limit || !last || last.created_at >= before ? null : last.position;
}

/** An event of an older version that no subscription has taken over is done as well: nobody subscribes to it. */
function isDone(row: Pick<DeliveryRow, 'status' | 'subscription_id' | 'message_number'>): boolean {
  const isUnclaimedEvent = row.subscription_id === null && row.message_number === null;
  return row.status === 'sent' || row.status === 'discarded' || isUnclaimedEvent;
}

/** Deletes those of these published messages that have no delivery any more. */
async function deleteUndelivered(tx: Tx, numbers: number[]): Promise<void> {
  await tx.query
    .deleteFrom('messages')
    .where('number', 'in', numbers)
    .where(eb =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('deliveries')
            .select('position')
            .whereRef('deliveries.message_number', '=', 'messages.number')
            .where('message_number', 'is not', null),
        ),
      ),
    )
    .execute();
}
