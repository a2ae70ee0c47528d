import { type RawBuilder, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { Statement, type StatementBuilder, statement } from '../db/statement.ts';
import type { DeliveryRow, EndedRow, Lease, LeasedRow, RoomOf } from './leased-delivery.ts';

/*
 * The life of a delivery in SQL. It is inserted, claimed under a lease and ended, and the next of its lane becomes
 * claimable.
 *
 * A lane is the queue of one subscription and one message key. A delivery stays in its lane until it ends or
 * dies without blocking. Only the head of a lane has a `claimable_at`, so only heads are claimed.
 * The head is the oldest delivery of its lane. One that is replayed while a younger one is processing becomes the head
 * when that attempt ends. A lane is named by the position of any of its deliveries.
 */

/** Suffix of the token of a lease whose predecessor expired. */
export const RECLAIMED = '+';

/** Whether the previous lease of the row expired, so its attempt has no recorded outcome. */
export function isReclaimed(lease_token: string): boolean {
  return lease_token.endsWith(RECLAIMED);
}

/** A claim of what follows in lanes. */
export type NextClaim = Omit<Claim, 'limit'>;

export interface Claim {
  limit: number;
  /** Base of the leases' tokens; see {@link isReclaimed}. */
  lease_token: string;
  leased_by: string;
  leaseMs: number;
  /** Epoch milliseconds. */
  now: number;
}

/** Subscriptions that one statement looks at, at most. */
export const SUBSCRIPTIONS_PER_CLAIM = 16;
/** How many it may look at: the time of a statement rises with the number, whether there are so many or not. */
const SIZES = [1, 2, 3, 4, 6, 8, 12, SUBSCRIPTIONS_PER_CLAIM] as const;
type Size = (typeof SIZES)[number];
/** No subscription has this id. */
const NONE = 0;

/**
 * Claims up to `limit` due deliveries of these subscriptions, the longest due first. Of many subscriptions it takes
 * those of the first {@link SUBSCRIPTIONS_PER_CLAIM} before all others. One whose lease has expired is due again. The
 * claim reads only heads of lanes, in index order, so its cost depends on neither backlog nor history.
 * @param roomOf how many of one subscription it claims at most
 */
export async function claimDue(
  tx: Tx,
  subscriptions: readonly number[],
  claim: Claim,
  roomOf: RoomOf = () => claim.limit,
): Promise<LeasedRow[]> {
  const due: number[] = [];
  for (let from = 0; from < subscriptions.length && due.length < claim.limit; from += SUBSCRIPTIONS_PER_CLAIM) {
    const some = subscriptions.slice(from, from + SUBSCRIPTIONS_PER_CLAIM);
    const size = SIZES.find(size => size >= some.length) ?? SUBSCRIPTIONS_PER_CLAIM;
    const limit = claim.limit - due.length;
    const values = namesOf(size).flatMap(([name, most], index) => {
      const id = some[index] ?? NONE;
      return [[name, id] as const, [most, Math.min(limit, roomOf(id))] as const];
    });
    const found = await tx.all(dueStatements[size], { limit, ...Object.fromEntries(values) });
    due.push(...found.map(row => row.position));
  }
  if (due.length === 0) return [];
  return (await tx.all(claimStatement, { ...claim, positions: JSON.stringify(due) })) as LeasedRow[];
}

/** The names of the values of each subscription: its id, and its limit. */
function namesOf(size: Size): [string, string][] {
  return Array.from({ length: size }, (_, index) => [`subscription${index}`, `limit${index}`]);
}

type DueStatement = Statement<{ limit: number } & Record<string, number>, { position: number }>;
const dueStatements = Object.fromEntries(SIZES.map(size => [size, dueStatement(size)])) as Record<Size, DueStatement>;

/** The due deliveries of so many subscriptions. Made once for each number. */
function dueStatement(size: Size): DueStatement {
  return new Statement(({ query, value, leaseNow }: StatementBuilder<{ limit: number } & Record<string, number>>) => {
    const branches = namesOf(size).map(
      ([name, most]) => sql`select * from (
        select position, claimable_at from deliveries
        where subscription_id = ${value(name)} and claimable_at <= ${leaseNow}
        order by claimable_at, position limit ${value(most)}) as branch`,
    );
    return query
      .selectFrom(sql<{ position: number; claimable_at: number }>`(${sql.join(branches, sql` union all `)})`.as('due'))
      .select('position')
      .orderBy('claimable_at')
      .orderBy('position')
      .limit(value('limit'));
  });
}

const claimStatement = statement(
  ({ query, value, integerElements, leaseNow, among }: StatementBuilder<Claim & { positions: string }>) =>
    query
      .updateTable('deliveries')
      .set(eb => ({
        leased_by: value('leased_by'),
        // A settled lease leaves no token, an expired one does. RETURNING shows only the new row: the new token tells.
        lease_token: sql<string>`cast(${value('lease_token')} as text) ||
          case when lease_token is null then '' else ${sql.lit(RECLAIMED)} end`,
        status: sql.lit('processing' as const),
        attempts: eb('attempts', '+', 1),
        claimable_at: sql<number>`${leaseNow} + ${value('leaseMs')}`,
        updated_at: value('now'),
      }))
      .where(among('position', integerElements('positions')))
      .returningAll(),
);

/** A delivery of a published message. Without `available_at` (epoch milliseconds) it is due at once. */
export interface NewDelivery {
  subscription_id: number;
  message_number: number;
  topic: string;
  message_key: string | null;
  available_at: number | null;
  created_at: number;
}

/**
 * Appends a delivery to its lane. The first one of an empty lane becomes its head and can be claimed. Each later one
 * can be claimed after its predecessors have left.
 */
export function insertDelivery(tx: Tx, row: NewDelivery): void {
  tx.send(insertDeliveryStatement, { ...row, queued: row.message_key === null ? 0 : 1 });
}

const insertDeliveryStatement = statement(
  ({ query, value, values, leaseNow }: StatementBuilder<NewDelivery & { queued: number }>) => {
    // PostgreSQL types a bare parameter inside `coalesce` and `case` as text, hence the cast.
    const at = sql<number>`coalesce(cast(${value('available_at')} as bigint), ${leaseNow})`;
    const laneIsTaken = sql<boolean>`exists (select 1 from deliveries as other
      where other.subscription_id = ${value('subscription_id')} and other.message_key = ${value('message_key')}
        and other.queued = 1)`;
    return query.insertInto('deliveries').values({
      ...values(['subscription_id', 'message_number', 'topic', 'message_key', 'queued', 'created_at']),
      status: sql.lit('pending'),
      attempts: sql.lit(0),
      generation: sql.lit(1),
      available_at: at,
      claimable_at: sql<number>`case when ${laneIsTaken} then null else ${at} end`,
      history: sql.lit('[]'),
      updated_at: value('created_at'),
    });
  },
);

/** Names a lane. */
export interface Lane {
  subscription_id: number;
  message_key: string;
}

/** A delivery of an event. */
export interface EventDelivery {
  subscription_id: number;
  event_sequence: number;
  topic: string;
  message_key: string;
  created_at: number;
  /** It is the first of its lane, so that it may be claimed. */
  head: 0 | 1;
  /** It is leased at once. Only heads are. */
  leased: 0 | 1;
  /** It waits until its topic is resumed. Only heads do. */
  parked: 0 | 1;
}

/** Inserts deliveries of events in this order, and answers the ones that are leased at once. */
export async function insertEventDeliveries(tx: Tx, rows: EventDelivery[], claim: Claim): Promise<LeasedRow[]> {
  if (rows.length === 0) return [];
  const numbered = rows.map((row, number) => ({ ...row, number }));
  const inserted = await tx.all(insertEventDeliveriesStatement, { ...claim, rows: JSON.stringify(numbered) });
  return inserted.filter(({ status }) => status === 'processing') as LeasedRow[];
}

const insertEventDeliveriesStatement = statement(
  ({ query, value, records, leaseNow }: StatementBuilder<Claim & { rows: string }>) => {
    const rows = records<EventDelivery & { number: number }>('rows', {
      number: 'integer',
      subscription_id: 'integer',
      event_sequence: 'integer',
      topic: 'text',
      message_key: 'text',
      created_at: 'integer',
      head: 'integer',
      leased: 'integer',
      parked: 'integer',
    });
    const ifLeased = (name: 'lease_token' | 'leased_by') =>
      sql<string>`case when leased = 1 then cast(${value(name)} as text) end`;
    return query
      .insertInto('deliveries')
      .columns([
        ...(['subscription_id', 'event_sequence', 'topic', 'message_key', 'queued', 'status', 'attempts'] as const),
        ...(['generation', 'available_at', 'claimable_at', 'parked', 'lease_token', 'leased_by', 'history'] as const),
        ...(['created_at', 'updated_at'] as const),
      ])
      .expression(
        query
          .selectFrom(rows.as('row'))
          .select(['subscription_id', 'event_sequence', 'topic', 'message_key', sql.lit(1).as('queued')])
          .select([
            sql<'pending'>`case when leased = 1 then 'processing' else 'pending' end`.as('status'),
            'leased as attempts',
            sql.lit(1).as('generation'),
            sql<number>`${leaseNow}`.as('available_at'),
            sql<number>`case when leased = 1 then ${leaseNow} + cast(${value('leaseMs')} as bigint)
              when head = 1 and parked = 0 then ${leaseNow} end`.as('claimable_at'),
            'parked',
            ifLeased('lease_token').as('lease_token'),
            ifLeased('leased_by').as('leased_by'),
            sql.lit('[]').as('history'),
            'created_at',
            sql<number>`cast(${value('now')} as bigint)`.as('updated_at'),
          ])
          .orderBy('number'),
      )
      .returningAll();
  },
);

/** How the lease of a delivery ends. */
export interface Ending {
  lease: Lease;
  row: EndedRow;
}

/** Endings that change their deliveries alike; `positions` is a JSON array. */
type AlikeEndings = Required<EndedRow> & { lease_token: string; positions: string };

/**
 * Ends leases, and stores how. Answers the positions whose lease was still held; the others are unchanged. Each position
 * comes once.
 */
export async function endLeases(tx: Tx, endings: Ending[]): Promise<number[]> {
  if (endings.length === 0) return [];
  // Most deliveries of a claim are sent at their first attempt, and change alike.
  const alike = Map.groupBy(endings, ({ lease: { lease_token }, row }) => JSON.stringify({ lease_token, ...row }));
  const groups = [...alike.values()].map((group): AlikeEndings => {
    const [{ lease, row }] = group as [Ending];
    const positions = JSON.stringify(group.map(one => one.lease.position));
    return { available_in: null, claimable_in: null, ...row, lease_token: lease.lease_token, positions };
  });
  const ended = await tx.all(endLeasesStatement, { groups: JSON.stringify(groups), count: endings.length });
  return ended.map(({ position }) => position);
}

const endLeasesStatement = statement(
  ({ query, value, records, elementsOf, leaseNow }: StatementBuilder<{ groups: string; count: number }>) => {
    const groups = records<AlikeEndings>('groups', {
      positions: 'text',
      lease_token: 'text',
      status: 'text',
      attempts: 'integer',
      queued: 'integer',
      parked: 'integer',
      last_error: 'text',
      history: 'text',
      updated_at: 'integer',
      available_in: 'integer',
      claimable_in: 'integer',
    });
    return query
      .updateTable('deliveries')
      .from(
        // With a limit, PostgreSQL looks deliveries up by their positions; otherwise it may compare all of them by the token.
        sql<AlikeEndings & { position: number }>`(
          select one.*, cast(value as bigint) as position from ${groups} as one, ${elementsOf(sql.ref('one.positions'))}
          limit ${value('count')})`.as('ended'),
      )
      .set(eb => ({
        status: eb.ref('ended.status'),
        attempts: eb.ref('ended.attempts'),
        queued: eb.ref('ended.queued'),
        parked: eb.ref('ended.parked'),
        last_error: eb.ref('ended.last_error'),
        history: eb.ref('ended.history'),
        updated_at: eb.ref('ended.updated_at'),
        // On the clock that they will be compared with; null is no delay.
        available_at: sql<number>`coalesce(${leaseNow} + ended.available_in, available_at)`,
        claimable_at: sql<number | null>`${leaseNow} + ended.claimable_in`,
        lease_token: null,
        leased_by: null,
      }))
      .whereRef('deliveries.position', '=', 'ended.position')
      .whereRef('deliveries.lease_token', '=', 'ended.lease_token')
      .returning('deliveries.position');
  },
);

/**
 * The oldest delivery of a lane, for a subquery: `lane` has its subscription and its key. It reads the index once for each
 * lane, whatever the planner believes of the backlog.
 */
export const inLane = (condition: RawBuilder<unknown>) => sql<number>`(
  select one.position from deliveries as one
  where one.subscription_id = lane.subscription_id and one.message_key = lane.message_key and one.queued = 1 ${condition}
  order by one.position limit 1)`;

/** Which of these lanes have deliveries. */
export async function takenLanes(reader: Reader, lanes: Lane[]): Promise<Lane[]> {
  return lanes.length === 0 ? [] : reader.all(takenLanesStatement, { lanes: JSON.stringify(lanes) });
}

const takenLanesStatement = statement(({ query, records }: StatementBuilder<{ lanes: string }>) =>
  query
    .selectFrom(records<Lane>('lanes', { subscription_id: 'integer', message_key: 'text' }).as('lane'))
    .select(['lane.subscription_id', 'lane.message_key'])
    .where(
      // Not `exists`: PostgreSQL would join all that is queued if it took that for little.
      sql<boolean>`${inLane(sql``)} is not null`,
    ),
);

/** It hides the status from its index, by which PostgreSQL would read the whole backlog to find a few known rows. */
export const waits = sql<boolean>`coalesce(status, '') in ('pending', 'failed')`;

/**
 * Makes the next delivery of each lane claimable after its head has left. It queues behind all heads that are due now, so
 * a lane with a long backlog does not starve the others. With a claim, it is claimed instead if it is due and its topic is
 * not paused.
 * @param positions of deliveries that have left
 * @returns what became claimable, and what is claimed, which has the token of the claim
 */
export async function promoteNext(tx: Tx, positions: number[], claim?: NextClaim): Promise<DeliveryRow[]> {
  if (positions.length === 0) return [];
  const values = { positions: JSON.stringify(positions), claims: claim ? 1 : 0 } as const;
  return tx.all(promoteNextStatement, { ...values, ...(claim ?? NO_CLAIM) });
}

const NO_CLAIM: NextClaim = { lease_token: '', leased_by: '', leaseMs: 0, now: 0 };

type Promotion = NextClaim & { positions: string; claims: 0 | 1 };

const promoteNextStatement = statement(
  ({ query, value, integerElements, leaseNow, among }: StatementBuilder<Promotion>) => {
    const isClaimed = sql`cast(${value('claims')} as integer) = 1 and available_at <= ${leaseNow}
      and topic not in (select topic from topics where paused = 1)`;
    const ifClaimed = (then: RawBuilder<unknown>, column: string) =>
      sql<never>`case when ${isClaimed} then ${then} else ${sql.ref(column)} end`;
    const heads = sql`(select ${inLane(sql``)} from deliveries as lane
      where ${among('lane.position', integerElements('positions'))})`;
    return (
      query
        .updateTable('deliveries')
        .set({
          status: ifClaimed(sql`'processing'`, 'status'),
          attempts: ifClaimed(sql`attempts + 1`, 'attempts'),
          lease_token: ifClaimed(sql`cast(${value('lease_token')} as text)`, 'lease_token'),
          leased_by: ifClaimed(sql`cast(${value('leased_by')} as text)`, 'leased_by'),
          updated_at: ifClaimed(sql`cast(${value('now')} as bigint)`, 'updated_at'),
          claimable_at: sql<number>`case
            when ${isClaimed} then ${leaseNow} + cast(${value('leaseMs')} as bigint)
            when available_at > ${leaseNow} then available_at
            else ${leaseNow} end`,
        })
        .where(among('position', heads))
        // It may be a dead one that blocks the lane.
        .where(waits)
        .where('claimable_at', 'is', null)
        .where('parked', '=', sql.lit(0))
        .returningAll()
    );
  },
);

/** Stores a handler's result (JSON) on a delivery. */
export function updateResult(tx: Tx, position: number, result: string): void {
  tx.send(updateResultStatement, { position, result });
}

const updateResultStatement = statement(({ query, value }: StatementBuilder<{ position: number; result: string }>) =>
  query
    .updateTable('deliveries')
    .set({ result: value('result') })
    .where('position', '=', value('position')),
);

/** Adds one to the number of deliveries ever sent of this topic; the transaction writes each topic once. */
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

export async function pausedTopics(reader: Reader): Promise<string[]> {
  return (await reader.all(pausedTopicsStatement, {})).map(row => row.topic);
}

const pausedTopicsStatement = statement(({ query }: StatementBuilder<object>) =>
  query.selectFrom('topics').select('topic').where('paused', '=', sql.lit(1)).orderBy('topic'),
);
