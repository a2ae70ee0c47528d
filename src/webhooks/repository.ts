import { type Kysely, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Changes, Row, Schema } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

/** A webhook with the name of its subscription. */
export type WebhookRow = Row<'webhooks'> & { subscription: string };
export type ReplayRow = Row<'webhook_replays'>;

/** All webhooks by name, or those after a name. */
export async function listWebhooks(reader: Reader, after = '', limit = Number.MAX_SAFE_INTEGER): Promise<WebhookRow[]> {
  return reader.all(listStatement, { after, limit });
}

const listStatement = statement(({ query, value }: StatementBuilder<{ after: string; limit: number }>) =>
  named(query).where('name', '>', value('after')).orderBy('name').limit(value('limit')),
);

export async function findWebhook(reader: Reader, subscription: string): Promise<WebhookRow | undefined> {
  return reader.first(findStatement, { subscription });
}

const findStatement = statement(({ query, value }: StatementBuilder<{ subscription: string }>) =>
  named(query).where('name', '=', value('subscription')),
);

function named(query: Kysely<Schema>) {
  return query
    .selectFrom('subscriptions')
    .innerJoin('webhooks', 'webhooks.subscription_id', 'subscriptions.subscription_id')
    .selectAll('webhooks')
    .select('subscriptions.name as subscription')
    .where('deleted_at', 'is', null);
}

/** Now on the clock that leases are measured with. Probes are, too: they do not notice that the wall clock is set. */
export async function probeNow(reader: Reader): Promise<number> {
  return ((await reader.first(nowStatement, {})) as { now: number }).now;
}

const nowStatement = statement(({ query, leaseNow }: StatementBuilder<object>) =>
  query.selectNoFrom(sql<number>`${leaseNow}`.as('now')),
);

export async function insertWebhook(tx: Tx, row: Row<'webhooks'>): Promise<void> {
  await tx.query.insertInto('webhooks').values(row).execute();
}

/** Changes a webhook; its version rises. */
export async function updateWebhook(tx: Tx, id: number, changes: Changes<'webhooks'>): Promise<void> {
  await tx.query
    .updateTable('webhooks')
    .set(changes)
    .set(eb => ({ version: eb('version', '+', 1) }))
    .where('subscription_id', '=', id)
    .execute();
}

/** Deletes a webhook, and with it its secrets. Its subscription stays for its deliveries. */
export async function deleteWebhook(tx: Tx, id: number): Promise<void> {
  await tx.query.deleteFrom('webhook_messages').where('subscription_id', '=', id).execute();
  await tx.query.deleteFrom('webhooks').where('subscription_id', '=', id).execute();
}

/** Notes a message about a question that can be changed later, once. */
export async function insertSentMessage(tx: Tx, row: Omit<Row<'webhook_messages'>, 'number'>): Promise<void> {
  await tx.query
    .insertInto('webhook_messages')
    .values(row)
    .onConflict(conflict => conflict.columns(['subscription_id', 'question_id', 'reference']).doNothing())
    .execute();
}

/** The messages of a webhook about a question, oldest first. */
export async function listMessages(
  reader: Reader,
  id: number,
  question_id: string,
): Promise<Row<'webhook_messages'>[]> {
  return reader.query
    .selectFrom('webhook_messages')
    .selectAll()
    .where('subscription_id', '=', id)
    .where('question_id', '=', question_id)
    .orderBy('number')
    .execute();
}

/** Deletes the messages about these questions. */
export async function deleteMessagesAbout(tx: Tx, questionIds: string[]): Promise<void> {
  if (questionIds.length === 0) return;
  await tx.query.deleteFrom('webhook_messages').where('question_id', 'in', questionIds).execute();
}

/** When the oldest message was told. Epoch milliseconds; undefined if there is none. */
export async function oldestMessage(reader: Reader): Promise<number | undefined> {
  const query = reader.query.selectFrom('webhook_messages').select('told_at').orderBy('number').limit(1);
  return (await query.executeTakeFirst())?.told_at;
}

/** Deletes the oldest messages that were told before a time. */
export async function deleteMessages(tx: Tx, before: number, limit: number): Promise<void> {
  const oldest = tx.query.selectFrom('webhook_messages').select(['number', 'told_at']).orderBy('number').limit(limit);
  await tx.query
    .deleteFrom('webhook_messages')
    .where('number', 'in', eb =>
      eb.selectFrom(oldest.as('oldest')).select('oldest.number').where('told_at', '<', before),
    )
    .execute();
}

export async function findSource(reader: Reader, source: string): Promise<Row<'webhook_sources'> | undefined> {
  return reader.query.selectFrom('webhook_sources').selectAll().where('source', '=', source).executeTakeFirst();
}

/** Makes a process the one that follows a source. */
export async function takeSource(tx: Tx, source: string, process: string): Promise<void> {
  await tx.query
    .insertInto('webhook_sources')
    .values({ source, process, position: null })
    .onConflict(conflict => conflict.column('source').doUpdateSet({ process }))
    .execute();
}

/** Notes what was read of a source. @returns false if another process follows it by now */
export async function moveSource(tx: Tx, source: string, process: string, position: string): Promise<boolean> {
  const { numUpdatedRows } = await tx.query
    .updateTable('webhook_sources')
    .set({ position })
    .where('source', '=', source)
    .where('process', '=', process)
    .executeTakeFirstOrThrow();
  return numUpdatedRows > 0n;
}

/** Lets a source go, so that another process may follow it. */
export async function leaveSource(tx: Tx, source: string, process: string): Promise<void> {
  await tx.query
    .updateTable('webhook_sources')
    .set({ process: null })
    .where('source', '=', source)
    .where('process', '=', process)
    .execute();
}

export async function insertReplay(tx: Tx, row: Omit<ReplayRow, 'number'>): Promise<void> {
  await tx.query.insertInto('webhook_replays').values(row).execute();
}

/** The oldest replay that is not done. */
export async function nextReplay(reader: Reader): Promise<ReplayRow | undefined> {
  return reader.query.selectFrom('webhook_replays').selectAll().orderBy('number').limit(1).executeTakeFirst();
}

export async function moveReplay(tx: Tx, number: number, after_sequence: number): Promise<void> {
  await tx.query.updateTable('webhook_replays').set({ after_sequence }).where('number', '=', number).execute();
}

export async function deleteReplay(tx: Tx, number: number): Promise<void> {
  await tx.query.deleteFrom('webhook_replays').where('number', '=', number).execute();
}

/** The keys by which push services know this service, the same for all processes of a database. */
export async function findPushKeys(reader: Reader): Promise<{ publicKey: string; privateKey: string }> {
  const { public_key, private_key } = await reader.query.selectFrom('push_keys').selectAll().executeTakeFirstOrThrow();
  return { publicKey: public_key, privateKey: private_key };
}
