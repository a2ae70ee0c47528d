import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Changes } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import type { MessageCount, MessageRow, NewMessageRow } from './leased-delivery.ts';

/** Inserts event messages that no handler subscribes to: they are sent from the start and never claimed. */
export function insertSent(tx: Tx, rows: NewMessageRow[]): void {
  for (const row of rows) tx.send(insertSentStatement, row);
}

const insertSentStatement = statement(({ query, value, values }: StatementBuilder<NewMessageRow>) =>
  query.insertInto('outbox').values({
    ...values(['message_id', 'topic', 'message_key', 'payload', 'event_sequence', 'max_attempts', 'consumer']),
    ...values(['origin_id', 'traceparent', 'token_id', 'created_at']),
    status: sql.lit('sent'),
    attempts: sql.lit(0),
    generation: sql.lit(1),
    available_at: value('created_at'),
    history: sql.lit('[]'),
    updated_at: value('created_at'),
    sent_at: value('created_at'),
  }),
);

/** Updates a message that is not under a lease. */
export async function updateMessage(tx: Tx, position: number, changes: Changes<'outbox'>): Promise<void> {
  await tx.query.updateTable('outbox').set(changes).where('position', '=', position).execute();
}

/** Stores a handler's result (JSON) on these messages. */
export function updateResult(tx: Tx, messageIds: string[], result: string): void {
  tx.send(updateResultStatement, { message_ids: JSON.stringify(messageIds), result });
}

const updateResultStatement = statement(
  ({ query, value, elements }: StatementBuilder<{ message_ids: string; result: string }>) =>
    query
      .updateTable('outbox')
      .set({ result: value('result') })
      .where('message_id', 'in', sql<string>`(select value from ${elements('message_ids')})`),
);

/** Adds one to the number of messages ever sent of this topic; the transaction writes each topic once. */
export function countSent(tx: Tx, topic: string): void {
  tx.count(`sent:${topic}`, 1, (last, sent) => last.send(countSentStatement, { topic, sent }));
}

const countSentStatement = statement(({ query, values }: StatementBuilder<{ topic: string; sent: number }>) =>
  query
    .insertInto('topics')
    .values(values(['topic', 'sent']))
    .onConflict(conflict =>
      conflict.column('topic').doUpdateSet(eb => ({ sent: eb('topics.sent', '+', eb.ref('excluded.sent')) })),
    ),
);

export async function setPaused(tx: Tx, topic: string, paused: 0 | 1): Promise<void> {
  await tx.query
    .insertInto('topics')
    .values({ topic, paused })
    .onConflict(conflict => conflict.column('topic').doUpdateSet({ paused }))
    .execute();
}

export async function pausedTopics(reader: Reader): Promise<string[]> {
  return (await reader.all(pausedTopicsStatement, {})).map(row => row.topic);
}

const pausedTopicsStatement = statement(({ query }: StatementBuilder<object>) =>
  query.selectFrom('topics').select('topic').where('paused', '=', sql.lit(1)).orderBy('topic'),
);

export async function findMessage(reader: Reader, messageId: string): Promise<MessageRow | undefined> {
  return reader.query.selectFrom('outbox').selectAll().where('message_id', '=', messageId).executeTakeFirst();
}

/** A copy of this message for one of several consumers, which may outlive the original. */
export async function findCopy(reader: Reader, messageId: string): Promise<MessageRow | undefined> {
  return (
    reader.query
      .selectFrom('outbox')
      .selectAll()
      .where('message_id', '>=', `${messageId}~`)
      // U+007F follows the tilde, which no message id of a caller contains.
      .where('message_id', '<', `${messageId}\u007f`)
      .limit(1)
      .executeTakeFirst()
  );
}

/** Lists dead messages after position `from` up to position `upTo`, oldest first. */
export async function listDead(
  reader: Reader,
  { from, upTo }: { from: number; upTo: number },
  limit: number,
): Promise<Pick<MessageRow, 'position' | 'topic' | 'message_key' | 'consumer'>[]> {
  return reader.query
    .selectFrom('outbox')
    .select(['position', 'topic', 'message_key', 'consumer'])
    .where('status', '=', 'dead')
    .where('status', '<>', sql.lit('sent'))
    .where('position', '>', from)
    .where('position', '<=', upTo)
    .orderBy('position')
    .limit(limit)
    .execute();
}

/** The position of the newest message; 0 before the first. */
export async function lastPosition(reader: Reader): Promise<number> {
  const newest = reader.query.selectFrom('outbox').select('position').orderBy('position', 'desc').limit(1);
  return (await newest.executeTakeFirst())?.position ?? 0;
}

/** Lists messages, oldest first, after the position `from`. */
export async function listMessages(
  reader: Reader,
  filter: {
    status?: MessageRow['status'] | undefined;
    topic?: string | undefined;
    message_key?: string | undefined;
    from: number;
  },
  limit: number,
): Promise<MessageRow[]> {
  const { status, topic, message_key, from } = filter;
  let query = reader.query.selectFrom('outbox').selectAll().where('position', '>', from);
  if (topic !== undefined) query = query.where('topic', '=', topic);
  if (message_key !== undefined) query = query.where('message_key', '=', message_key);
  if (status !== undefined) query = query.where('status', '=', status);
  // SQLite uses the partial index only if the query repeats its condition.
  if (status !== undefined && status !== 'sent') query = query.where('status', '<>', sql.lit('sent'));
  return query.orderBy('position').limit(limit).execute();
}

/** Lists the dead messages that block their lanes, by lane. */
export async function listBlocking(reader: Reader, limit: number): Promise<MessageRow[]> {
  return reader.query
    .selectFrom('outbox')
    .selectAll()
    .where('status', '=', sql.lit('dead'))
    .where('lane', 'is not', null)
    .orderBy('lane')
    .limit(limit)
    .execute();
}

/** Counts the lanes that dead messages block. */
export async function countBlocked(reader: Reader): Promise<number> {
  return (await reader.first(countBlockedStatement, {}))?.count ?? 0;
}

const countBlockedStatement = statement(({ query }: StatementBuilder<object>) =>
  query
    .selectFrom('outbox')
    .select(eb => eb.fn.count<number>('lane').distinct().as('count'))
    .where('status', '=', sql.lit('dead'))
    .where('lane', 'is not', null),
);

/** All statuses but `sent`. */
export const UNSENT = ['pending', 'processing', 'failed', 'dead', 'discarded'] as const;
export type Unsent = (typeof UNSENT)[number];

/** Per status the position after which to count; `limit` is per status, `now` in epoch milliseconds. */
export type CountRange = Record<Unsent, number> & { limit: number; now: number };

/** Counts the next messages of each status by topic. `last` is the position of the last one counted. */
export async function countNext(reader: Reader, range: CountRange): Promise<(MessageCount & { last: number })[]> {
  return (await reader.all(countNextStatement, range)) as (MessageCount & { last: number })[];
}

// Reads only columns of the index outbox_unsent.
const countNextStatement = statement(({ query, value }: StatementBuilder<CountRange>) => {
  const branches = UNSENT.map(
    status => sql`select * from (
      select status, topic, position, created_at, available_at from outbox
      where status = ${sql.lit(status)} and status <> 'sent' and position > ${value(status)}
      order by position limit ${value('limit')}) as branch`,
  );
  return query
    .selectFrom(
      sql<{ status: Unsent; topic: string; position: number }>`(${sql.join(branches, sql` union all `)})`.as('branch'),
    )
    .select(['status', 'topic', eb => eb.fn.countAll<number>().as('count')])
    .select(eb => eb.fn.max<number>('position').as('last'))
    .select(sql<number | null>`min(case when available_at <= ${value('now')} then created_at end)`.as('oldest'))
    .groupBy(['status', 'topic']);
});

/** Counts the messages ever sent by topic, deleted ones included. */
export async function sentMessages(reader: Reader): Promise<{ topic: string; count: number }[]> {
  return reader.query.selectFrom('topics').select(['topic', 'sent as count']).where('sent', '>', 0).execute();
}

/**
 * Deletes sent and discarded messages last updated before `before` (epoch milliseconds) among the `limit` messages
 * after the position `from`. Answers the position for the next call, or null when no older messages remain.
 */
export async function deleteDone(tx: Tx, from: number, before: number, limit: number): Promise<number | null> {
  const rows = await tx.query
    .selectFrom('outbox')
    .select(['position', 'status', 'created_at', 'updated_at'])
    .where('position', '>', from)
    .orderBy('position')
    .limit(limit)
    .execute();
  const done = rows.filter(row => (row.status === 'sent' || row.status === 'discarded') && row.updated_at < before);
  if (done.length > 0) {
    await tx.query
      .deleteFrom('outbox')
      .where(
        'position',
        'in',
        done.map(row => row.position),
      )
      .execute();
  }
  const last = rows.at(-1);
  return rows.length < limit || !last || last.created_at >= before ? null : last.position;
}
