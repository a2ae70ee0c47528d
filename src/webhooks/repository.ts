import type { Reader, Tx } from '../db/database.ts';
import type { Changes, Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

/** A webhook with the name of its subscription. */
export type WebhookRow = Row<'webhooks'> & { subscription: string };
export type ReplayRow = Row<'webhook_replays'>;

/** All webhooks by name, or those after a name. */
export async function listWebhooks(reader: Reader, after = '', limit = Number.MAX_SAFE_INTEGER): Promise<WebhookRow[]> {
  return reader.all(listStatement, { after, limit });
}

const listStatement = statement(({ query, value }: StatementBuilder<{ after: string; limit: number }>) =>
  query
    .selectFrom('subscriptions')
    .innerJoin('webhooks', 'webhooks.subscription_id', 'subscriptions.subscription_id')
    .selectAll('webhooks')
    .select('subscriptions.name as subscription')
    .where('deleted_at', 'is', null)
    .where('name', '>', value('after'))
    .orderBy('name')
    .limit(value('limit')),
);

export async function findWebhook(reader: Reader, subscription: string): Promise<WebhookRow | undefined> {
  return reader.first(findStatement, { subscription });
}

const findStatement = statement(({ query, value }: StatementBuilder<{ subscription: string }>) =>
  query
    .selectFrom('subscriptions')
    .innerJoin('webhooks', 'webhooks.subscription_id', 'subscriptions.subscription_id')
    .selectAll('webhooks')
    .select('subscriptions.name as subscription')
    .where('deleted_at', 'is', null)
    .where('name', '=', value('subscription')),
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
  await tx.query.deleteFrom('webhooks').where('subscription_id', '=', id).execute();
}

/** Notes which message of its reply topic was read last. */
export async function setReplySince(tx: Tx, id: number, reply_since: string): Promise<void> {
  await tx.query.updateTable('webhooks').set({ reply_since }).where('subscription_id', '=', id).execute();
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
