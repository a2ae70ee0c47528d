import { type RawBuilder, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import { inLane, type Lane, waits } from './delivery-repository.ts';
import type { DeliveryRow } from './leased-delivery.ts';

/* Lanes in SQL, beside the life of their deliveries: what mends, releases and lists them. */

/**
 * Makes the oldest delivery of each of these lanes its head, unless one is being handled. The one that was the head waits
 * from then on. Lanes whose head is the oldest stay as they are.
 * @param positions of any deliveries of the lanes
 */
export function putOldestFirst(tx: Tx, positions: number[]): void {
  if (positions.length > 0) tx.send(putOldestFirstStatement, { positions: JSON.stringify(positions) });
}

const putOldestFirstStatement = statement(
  ({ query, integerElements, leaseNow, among }: StatementBuilder<{ positions: string }>) => {
    const isHead = sql`and (one.claimable_at is not null or one.parked = 1 or one.status = 'dead')`;
    return query
      .with('ends', ends =>
        ends
          .selectFrom(
            sql<{ oldest: number; head: number | null }>`(
            select ${inLane(sql``)} as oldest, ${inLane(isHead)} as head
            from deliveries as lane where ${among('lane.position', integerElements('positions'))})`.as('lane'),
          )
          .select(['oldest', 'head']),
      )
      .with('wrong', wrong =>
        wrong
          .selectFrom('ends')
          .select(['oldest', 'head'])
          .where('oldest', 'is not', null)
          .where(
            sql<boolean>`(head is null or (head <> oldest
              and (select one.status from deliveries as one where one.position = ends.head) <> 'processing'))`,
          ),
      )
      .updateTable('deliveries')
      .set({
        parked: sql.lit(0),
        claimable_at: sql<number>`case
          when deliveries.position not in (select oldest from wrong) then null
          when available_at > ${leaseNow} then available_at
          else ${leaseNow} end`,
      })
      .where(among('position', sql`(select oldest from wrong union all select head from wrong)`))
      .where(waits);
  },
);

/** Which of these deliveries have an older one waiting in their lanes. */
export async function overtaking(tx: Tx, positions: number[]): Promise<Set<number>> {
  if (positions.length === 0) return new Set();
  const rows = await tx.all(overtakingStatement, { positions: JSON.stringify(positions) });
  return new Set(rows.map(row => row.position));
}

const overtakingStatement = statement(({ query, integerElements, among }: StatementBuilder<{ positions: string }>) =>
  query
    .selectFrom('deliveries')
    .select('position')
    .where(among('position', integerElements('positions')))
    .where(
      sql<boolean>`(select older.position from deliveries as older
        where older.subscription_id = deliveries.subscription_id and older.message_key = deliveries.message_key
          and older.queued = 1 and older.position < deliveries.position limit 1) is not null`,
    ),
);

/** Makes dead deliveries pending again at their old positions in their lanes: next generation, no attempts used. */
export function requeue(tx: Tx, rows: Pick<DeliveryRow, 'position'>[], now: number): void {
  const positions = rows.map(({ position }) => position);
  tx.send(requeueStatement, { positions: JSON.stringify(positions), now });
  putOldestFirst(tx, positions);
}

const requeueStatement = statement(
  ({ query, value, integerElements, leaseNow, among }: StatementBuilder<{ positions: string; now: number }>) =>
    query
      .updateTable('deliveries')
      .set(eb => ({
        status: sql.lit('pending'),
        generation: eb('generation', '+', 1),
        attempts: sql.lit(0),
        last_error: null,
        available_at: leaseNow,
        // One without a consumer waits for it.
        claimable_at: sql<number>`case when message_key is null and subscription_id is not null then ${leaseNow} end`,
        queued: sql<number>`case when message_key is null or subscription_id is null then 0 else 1 end`,
        updated_at: value('now'),
      }))
      .where(among('position', integerElements('positions'))),
);

/** The positions of dead deliveries that block lanes of these subscriptions. */
export async function blockingOf(reader: Reader, subscriptions: readonly number[], limit: number): Promise<number[]> {
  const rows = await reader.all(blockingOfStatement, { subscriptions: JSON.stringify(subscriptions), limit });
  return rows.map(row => row.position);
}

const blockingOfStatement = statement(
  ({ query, value, integerElements, among }: StatementBuilder<{ subscriptions: string; limit: number }>) =>
    query
      .selectFrom('deliveries')
      .select('position')
      .where('status', '=', sql.lit('dead'))
      .where('queued', '=', sql.lit(1))
      .where(among('subscription_id', integerElements('subscriptions')))
      .limit(value('limit')),
);

/** Takes dead deliveries out of their lanes, which go on. */
export function leaveLanes(tx: Tx, positions: number[]): void {
  tx.send(leaveLanesStatement, { positions: JSON.stringify(positions) });
  putOldestFirst(tx, positions);
}

const leaveLanesStatement = statement(({ query, integerElements, among }: StatementBuilder<{ positions: string }>) =>
  query
    .updateTable('deliveries')
    .set({ queued: sql.lit(0) })
    .where(among('position', integerElements('positions')))
    .where('status', '=', sql.lit('dead')),
);

/** Makes up to `limit` failed deliveries of a subscription due at once, with no attempts used. */
export function retryNow(tx: Tx, subscription_id: number, limit: number): void {
  tx.send(retryNowStatement, { subscription_id, limit });
}

const retryNowStatement = statement(
  ({ query, value, leaseNow }: StatementBuilder<{ subscription_id: number; limit: number }>) =>
    query
      .updateTable('deliveries')
      .set({ attempts: sql.lit(0), available_at: leaseNow, claimable_at: leaseNow })
      .where('position', 'in', eb =>
        eb
          .selectFrom('deliveries as late')
          .select('late.position')
          .where('late.subscription_id', '=', value('subscription_id'))
          .where('late.claimable_at', '>', leaseNow)
          .where('late.status', '=', sql.lit('failed'))
          .limit(value('limit')),
      )
      // One may have been claimed meanwhile.
      .where('status', '=', sql.lit('failed')),
);

/** A lane, and whether it is headless: deliveries wait in it and none is claimable, parked, processing or blocking. */
export interface LaneState extends Lane {
  /** The oldest delivery. */
  position: number;
  /** The place in the list. */
  number: number;
  headless: number;
}

/** The next `limit` lanes after a lane, sorted. Hops from lane to lane on the index. */
export async function listLanes(reader: Reader, after: Lane, limit: number): Promise<LaneState[]> {
  const lanes = await reader.all(listLanesStatement, { ...after, limit });
  // In the order of the hops, which a join need not keep.
  return lanes.sort((a, b) => a.number - b.number);
}

const listLanesStatement = statement(({ query, value }: StatementBuilder<Lane & { limit: number }>) => {
  // Two look-ups: SQLite compares only the first column of such a pair by the index. Each hop would read all rows
  // before it.
  const next = (subscription: RawBuilder<unknown>, key: RawBuilder<unknown>) => sql<number>`coalesce(
    (select one.position from deliveries as one
      where one.queued = 1 and one.subscription_id = ${subscription} and one.message_key > ${key}
      order by one.message_key, one.position limit 1),
    (select one.position from deliveries as one
      where one.queued = 1 and one.subscription_id > ${subscription}
      order by one.subscription_id, one.message_key, one.position limit 1))`;
  const first = next(sql`cast(${value('subscription_id')} as bigint)`, sql`cast(${value('message_key')} as text)`);
  const following = sql`(select ${next(sql`here.subscription_id`, sql`here.message_key`)}
    from deliveries as here where here.position = hop.position)`;
  const hops = sql<{ position: number; number: number }>`(with recursive hop(position, number) as (
      select ${first}, 1
      union all
      select ${following}, number + 1 from hop where hop.position is not null and number < ${value('limit')}
    ) select position, number from hop where position is not null)`;
  const isHead = sql`and (one.claimable_at is not null or one.parked = 1)`;
  return query
    .selectFrom(hops.as('hop'))
    .innerJoin('deliveries as lane', 'lane.position', 'hop.position')
    .select(['lane.position', 'lane.subscription_id', 'lane.message_key', 'hop.number'])
    .select(sql<number>`case when lane.status <> 'dead' and ${inLane(isHead)} is null then 1 else 0 end`.as('headless'))
    .$narrowType<{ subscription_id: number; message_key: string }>();
});

/** Unparks up to `limit` deliveries of a topic, and answers how many. */
export async function unpark(tx: Tx, topic: string, limit: number): Promise<number> {
  const { numUpdatedRows } = await tx.query
    .updateTable('deliveries')
    .set(eb => ({ parked: 0, claimable_at: eb.ref('available_at') }))
    .where('position', 'in', eb =>
      eb
        .selectFrom('deliveries as parked_one')
        .select('parked_one.position')
        .where('parked_one.topic', '=', topic)
        .where('parked_one.parked', '=', sql.lit(1))
        .orderBy('parked_one.position')
        .limit(limit),
    )
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** The topics of parked deliveries. A loose index scan: the cost grows with the topics, not with the deliveries. */
export async function parkedTopics(reader: Reader): Promise<string[]> {
  return looseTopics(reader, sql`parked = 1`);
}

/**
 * The topics of the published messages that wait for a subscription. As cheap as {@link parkedTopics}. Events of an older
 * version may wait, too, but nobody misses their handler.
 */
export async function topicsWithoutConsumer(reader: Reader): Promise<string[]> {
  const waits = sql`status in ('pending', 'failed') and message_number is not null`;
  return looseTopics(reader, sql`subscription_id is null and status <> 'sent' and ${waits}`);
}

/** The same with those events, and with dead deliveries of an older version: the first subscription takes them over. */
export async function unmatchedTopics(reader: Reader): Promise<string[]> {
  const unfinished = sql`status in ('pending', 'failed', 'dead')`;
  return looseTopics(reader, sql`subscription_id is null and status <> 'sent' and ${unfinished}`);
}

async function looseTopics(reader: Reader, condition: RawBuilder<unknown>): Promise<string[]> {
  const { rows } = await sql<{ value: string }>`
    with recursive hop(value) as (
      select min(topic) from deliveries where ${condition}
      union all
      select (select min(topic) from deliveries where ${condition} and topic > hop.value) from hop where value is not null
    )
    select value from hop where value is not null`.execute(reader.query);
  return rows.map(row => row.value);
}
