import type { Reader, Tx } from '../db/database.ts';
import type { Changes, Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import type { EventScope } from './subscription.ts';

export type SubscriptionRow = Omit<Row<'subscriptions'>, 'created_at' | 'deleted_at'>;

const columns = [
  ...(['subscription_id', 'name', 'kind', 'topics', 'filter'] as const),
  ...(['dead_policy', 'position', 'last_seen_at'] as const),
] as const;

/** All subscriptions that are not deleted, by name. */
export async function listSubscriptions(reader: Reader): Promise<SubscriptionRow[]> {
  return reader.all(listStatement, {});
}

const listStatement = statement(({ query }: StatementBuilder<object>) =>
  query.selectFrom('subscriptions').select(columns).where('deleted_at', 'is', null).orderBy('name'),
);

/** The names of all subscriptions, deleted ones included. */
export async function listNames(reader: Reader): Promise<Pick<SubscriptionRow, 'subscription_id' | 'name'>[]> {
  return reader.all(namesStatement, {});
}

const namesStatement = statement(({ query }: StatementBuilder<object>) =>
  query.selectFrom('subscriptions').select(['subscription_id', 'name']),
);

/** The ids of subscriptions whose deliveries nobody wants: deleted ones, and disabled webhooks. */
export async function abandonedSubscriptions(reader: Reader): Promise<number[]> {
  const rows = await reader.query
    .selectFrom('subscriptions')
    .select('subscription_id')
    .where(eb => eb.or([eb('deleted_at', 'is not', null), eb.and({ kind: 'webhook', topics: '[]' })]))
    .execute();
  return rows.map(row => row.subscription_id);
}

/** Stores a new subscription and answers its id. */
export async function insertSubscription(
  tx: Tx,
  row: Omit<SubscriptionRow, 'subscription_id'> & { created_at: number },
): Promise<number> {
  const { subscription_id } = await tx.query
    .insertInto('subscriptions')
    .values(row)
    .returning('subscription_id')
    .executeTakeFirstOrThrow();
  return subscription_id;
}

export async function updateSubscription(tx: Tx, id: number, changes: Changes<'subscriptions'>): Promise<void> {
  await tx.query.updateTable('subscriptions').set(changes).where('subscription_id', '=', id).execute();
}

/** These subscriptions, without those that are deleted. */
export async function findSubscriptions(reader: Reader, ids: readonly number[]): Promise<SubscriptionRow[]> {
  return reader.all(findStatement, { ids: JSON.stringify(ids) });
}

const findStatement = statement(({ query, integerElements, among }: StatementBuilder<{ ids: string }>) =>
  query
    .selectFrom('subscriptions')
    .select(columns)
    .where(among('subscription_id', integerElements('ids')))
    .where('deleted_at', 'is', null),
);

/** Moves these subscriptions to one position in the log. */
export function updatePositions(tx: Tx, ids: readonly number[], position: number): void {
  tx.send(updatePositionsStatement, { ids: JSON.stringify(ids), position });
}

const updatePositionsStatement = statement(
  ({ query, value, integerElements, among }: StatementBuilder<{ ids: string; position: number }>) =>
    query
      .updateTable('subscriptions')
      .set({ position: value('position') })
      .where(among('subscription_id', integerElements('ids'))),
);

/** Which processes serve which subscriptions. */
export async function listServers(reader: Reader): Promise<Row<'subscription_servers'>[]> {
  return reader.all(serversStatement, {});
}

const serversStatement = statement(({ query }: StatementBuilder<object>) =>
  query.selectFrom('subscription_servers').selectAll().orderBy('process'),
);

/** Notes that a process serves these subscriptions. */
export async function insertServers(tx: Tx, ids: readonly number[], process: string): Promise<void> {
  if (ids.length === 0) return;
  await tx.query
    .insertInto('subscription_servers')
    .values(ids.map(subscription_id => ({ subscription_id, process })))
    .execute();
}

/** Notes that these processes serve nothing any more, and when they were last seen. Epoch milliseconds. */
export async function deleteServers(tx: Tx, processes: readonly string[], now: number): Promise<void> {
  const theirs = tx.query
    .selectFrom('subscription_servers')
    .select('subscription_id')
    .where('process', 'in', processes);
  await tx.query
    .updateTable('subscriptions')
    .set({ last_seen_at: now })
    .where('subscription_id', 'in', theirs)
    .execute();
  await tx.query.deleteFrom('subscription_servers').where('process', 'in', processes).execute();
}

/** The sequence of the first event of these types after another; undefined if there is none. */
export async function firstOfTypes(
  reader: Reader,
  types: Iterable<string>,
  after: number,
  scope: EventScope = {},
): Promise<number | undefined> {
  let query = reader.query
    .selectFrom('events')
    .select('sequence')
    .where('event_type', 'in', [...types])
    .where('sequence', '>', after);
  if (scope.run_id !== undefined) query = query.where('run_id', '=', scope.run_id);
  if (scope.agent_name !== undefined) query = query.where('agent_name', '=', scope.agent_name);
  return (await query.orderBy('sequence').limit(1).executeTakeFirst())?.sequence;
}
