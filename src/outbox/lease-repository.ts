import { type Expression, type RawBuilder, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import { laneOf } from './lane.ts';
import type { EndedRow, Lease, LeasedRow, MessageRow, NewMessageRow } from './leased-delivery.ts';

/*
 * Lanes and leases in SQL. A message stays in the lane of its key until it ends or dies without blocking. Only the head
 * of a lane has a `claimable_at`, so only heads are claimed.
 * The head is the oldest message of its lane. A message that is replayed while a younger one is processing becomes the
 * head when that attempt ends.
 */

/**
 * Appends messages to their lanes. The first message of an empty lane becomes its head and can be claimed; each later
 * one can be claimed after its predecessors have left.
 */
export function insertMessages(tx: Tx, rows: NewMessageRow[]): void {
  for (const row of rows) {
    const { message_key, consumer, available_at = null, created_at } = row;
    tx.send(insertMessageStatement, {
      ...row,
      available_at,
      lane: laneOf(message_key, consumer),
      updated_at: created_at,
    });
  }
}

type InsertedMessage = Omit<NewMessageRow, 'available_at'> & {
  available_at: number | null;
  lane: string | null;
  updated_at: number;
};

const insertMessageStatement = statement(({ query, value, values, leaseNow }: StatementBuilder<InsertedMessage>) => {
  // PostgreSQL types a bare parameter inside `coalesce` and `case` as text, hence the cast.
  const at = sql<number>`coalesce(cast(${value('available_at')} as bigint), ${leaseNow})`;
  const laneIsTaken = sql<boolean>`exists (select 1 from outbox as other where other.lane = ${value('lane')})`;
  return query.insertInto('outbox').values({
    ...values(['message_id', 'topic', 'message_key', 'payload', 'event_sequence', 'max_attempts', 'consumer']),
    ...values(['origin_id', 'traceparent', 'token_id', 'lane', 'created_at', 'updated_at']),
    status: sql.lit('pending'),
    attempts: sql.lit(0),
    generation: sql.lit(1),
    available_at: at,
    claimable_at: sql<number>`case when ${laneIsTaken} then null else ${at} end`,
    history: sql.lit('[]'),
  });
});

/** Suffix of the token of a lease whose predecessor expired. */
const RECLAIMED = '+';

/** Whether the previous lease of the row expired, so its attempt has no recorded outcome. */
export function isReclaimed(lease_token: string): boolean {
  return lease_token.endsWith(RECLAIMED);
}

interface Claim {
  limit: number;
  /** Base of the leases' tokens; see {@link isReclaimed}. */
  lease_token: string;
  leased_by: string;
  leaseMs: number;
  /** Epoch milliseconds. */
  now: number;
}

/**
 * Claims up to `limit` due messages, the longest due first. A message whose lease has expired is due again. The claim
 * reads only lane heads, in index order, so its cost depends on neither backlog nor history.
 */
export async function claimMessages(tx: Tx, claim: Claim): Promise<LeasedRow[]> {
  const rows = await tx.all(claimStatement, claim);
  return (rows as LeasedRow[]).sort((a, b) => a.position - b.position);
}

const claimStatement = statement(({ query, value, leaseNow }: StatementBuilder<Claim>) =>
  query
    .with('due', due =>
      due
        .selectFrom('outbox')
        .select('position')
        .where('claimable_at', '<=', leaseNow)
        .orderBy('claimable_at')
        .orderBy('position')
        .limit(value('limit')),
    )
    .updateTable('outbox')
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
    .where('position', 'in', eb => eb.selectFrom('due').select('position'))
    .returningAll(),
);

/** Renews the leases that are still held, and answers them. */
export async function renewLeases(tx: Tx, leases: Lease[], leaseMs: number): Promise<Lease[]> {
  if (leases.length === 0) return [];
  const rows = await tx.query
    .updateTable('outbox')
    .set({ claimable_at: sql<number>`${tx.leaseNow} + ${leaseMs}` })
    .where(eb => {
      const held = leases.map(lease => eb.tuple(lease.position, lease.lease_token));
      return eb(eb.refTuple('position', 'lease_token'), 'in', held);
    })
    .returning(['position', 'lease_token'])
    .execute();
  return rows as Lease[];
}

/** Ends a lease and stores the row as given. Answers false, without a change, if the lease is no longer held. */
export async function endLease(tx: Tx, lease_token: string, row: EndedRow): Promise<boolean> {
  return (await tx.run(endLeaseStatement, { available_in: null, claimable_in: null, ...row, lease_token })) > 0;
}

const endLeaseStatement = statement(({ query, value, values, leaseNow }: StatementBuilder<Required<EndedRow>>) => {
  // On the clock that they will be compared with; null is no delay.
  const after = (name: 'available_in' | 'claimable_in') =>
    sql<number | null>`${leaseNow} + cast(${value(name)} as bigint)`;
  return query
    .updateTable('outbox')
    .set(values(['status', 'attempts', 'lane', 'parked', 'last_error', 'history', 'updated_at', 'sent_at']))
    .set({
      available_at: sql<number>`coalesce(${after('available_in')}, available_at)`,
      claimable_at: after('claimable_in'),
      lease_token: null,
      leased_by: null,
    })
    .where('position', '=', value('position'))
    .where('lease_token', '=', value('lease_token'));
});

/** The common parts of several deliveries of one claim that are marked sent together. */
interface SentGroup {
  lease_token: string;
  /** JSON array of numbers. */
  positions: string;
  /** JSON. */
  history: string;
  /** Epoch milliseconds. */
  now: number;
}

/** Marks handled messages sent, and answers the positions whose lease was still held. Other rows are unchanged. */
export async function markSent(tx: Tx, positions: number[], group: Omit<SentGroup, 'positions'>): Promise<number[]> {
  const rows = await tx.all(markSentStatement, { ...group, positions: JSON.stringify(positions) });
  return rows.map(row => row.position);
}

const markSentStatement = statement(({ query, value, integerElements }: StatementBuilder<SentGroup>) =>
  query
    .updateTable('outbox')
    .set({
      status: sql.lit('sent'),
      claimable_at: null,
      lane: null,
      last_error: null,
      lease_token: null,
      leased_by: null,
    })
    .set({ history: value('history'), updated_at: value('now'), sent_at: value('now') })
    .where('position', 'in', integerElements('positions'))
    .where('lease_token', '=', value('lease_token'))
    .returning('position'),
);

/**
 * Makes the next message of each lane claimable after its head has left. It queues behind all heads that are due now,
 * so a lane with a long backlog does not starve the others.
 */
export function promoteNext(tx: Tx, lanes: string[]): void {
  if (lanes.length > 0) tx.send(promoteNextStatement, { lanes: JSON.stringify(lanes) });
}

const promoteNextStatement = statement(({ query, elements, leaseNow }: StatementBuilder<{ lanes: string }>) =>
  query
    .updateTable('outbox')
    .set({ claimable_at: sql<number>`case when available_at > ${leaseNow} then available_at else ${leaseNow} end` })
    .where(
      'position',
      'in',
      sql<number>`(select (
        select next.position from outbox as next where next.lane = value order by next.position limit 1
      ) from ${elements('lanes')})`,
    )
    // It may be a dead one that blocks the lane.
    .where('status', 'in', [sql.lit('pending' as const), sql.lit('failed' as const)])
    .where('claimable_at', 'is', null)
    .where('parked', 'is', null),
);

/**
 * Makes the oldest message of each of these lanes its head, unless one is being handled. The one that was the head waits
 * from then on. Lanes whose head is the oldest stay as they are.
 */
export function putOldestFirst(tx: Tx, lanes: string[]): void {
  if (lanes.length > 0) tx.send(putOldestFirstStatement, { lanes: JSON.stringify([...new Set(lanes)]) });
}

const putOldestFirstStatement = statement(({ query, elements, leaseNow }: StatementBuilder<{ lanes: string }>) => {
  const first = (condition: RawBuilder<unknown>) => sql`(
    select one.position from outbox as one where one.lane = value ${condition} order by one.position limit 1)`;
  const isHead = sql`and (one.claimable_at is not null or one.parked is not null or one.status = 'dead')`;
  return query
    .with('ends', ends =>
      ends
        .selectFrom(
          sql<{ oldest: number; head: number | null }>`(
          select ${first(sql``)} as oldest, ${first(isHead)} as head from ${elements('lanes')})`.as('lane'),
        )
        .select(['oldest', 'head']),
    )
    .with('wrong', wrong =>
      wrong
        .selectFrom('ends')
        .leftJoin('outbox', 'outbox.position', 'ends.head')
        .select(['oldest', 'head'])
        .where('oldest', 'is not', null)
        .where(sql<boolean>`(head is null or (head <> oldest and outbox.status <> 'processing'))`),
    )
    .updateTable('outbox')
    .set({
      parked: null,
      claimable_at: sql<number>`case
        when outbox.position not in (select oldest from wrong) then null
        when available_at > ${leaseNow} then available_at
        else ${leaseNow} end`,
    })
    .where('position', 'in', sql<number>`(select oldest from wrong union all select head from wrong)`)
    .where('status', 'in', [sql.lit('pending' as const), sql.lit('failed' as const)]);
});

/** Which of these messages have an older one waiting in their lanes. */
export async function overtaking(tx: Tx, positions: number[]): Promise<Set<number>> {
  if (positions.length === 0) return new Set();
  const rows = await tx.all(overtakingStatement, { positions: JSON.stringify(positions) });
  return new Set(rows.map(row => row.position));
}

const overtakingStatement = statement(({ query, integerElements }: StatementBuilder<{ positions: string }>) =>
  query
    .selectFrom('outbox')
    .select('position')
    .where('position', 'in', integerElements('positions'))
    .where(
      sql<boolean>`exists (select 1 from outbox as older where older.lane = outbox.lane and older.position < outbox.position)`,
    ),
);

/** A lane, and whether it is headless: messages wait in it and none is claimable, parked, processing or blocking. */
export interface LaneState {
  lane: string;
  headless: boolean;
}

/** The next `limit` lanes after `after`, sorted. Hops from lane to lane on the index. */
export async function listLanes(reader: Reader, after: string, limit: number): Promise<LaneState[]> {
  const rows = await reader.all(listLanesStatement, { after, limit });
  return rows.map(({ lane, headless }) => ({ lane, headless: headless === 1 }));
}

const listLanesStatement = statement(({ query, value }: StatementBuilder<{ after: string; limit: number }>) => {
  const next = (after: Expression<unknown>) =>
    sql`(select min(lane) from outbox where lane is not null and lane > ${after})`;
  const headless = sql<number>`case when
    (select one.status from outbox as one where one.lane = hop.lane order by one.position limit 1) <> 'dead'
    and (select one.position from outbox as one where one.lane = hop.lane
      and (one.claimable_at is not null or one.parked is not null) order by one.position limit 1) is null then 1 else 0 end`;
  return query
    .selectFrom(
      sql<{ lane: string }>`(with recursive hop(lane, number) as (
        select ${next(value('after'))}, 1
        union all
        select ${next(sql`hop.lane`)}, number + 1 from hop where hop.lane is not null and number < ${value('limit')}
      ) select lane from hop where lane is not null)`.as('hop'),
    )
    .select(['hop.lane', headless.as('headless')]);
});

/** The leases of this process that were claimed with these tokens. */
export async function leasesOf(tx: Tx, leased_by: string, tokens: string[]): Promise<LeasedRow[]> {
  const rows = await tx.query
    .selectFrom('outbox')
    .selectAll()
    .where('status', '=', 'processing')
    .where('status', '<>', sql.lit('sent'))
    .where('leased_by', '=', leased_by)
    .where(
      'lease_token',
      'in',
      tokens.flatMap(token => [token, token + RECLAIMED]),
    )
    .execute();
  return rows as LeasedRow[];
}

/** Names of the processes that hold leases. */
export async function leaseHolders(reader: Reader): Promise<string[]> {
  const query = reader.query.selectFrom('outbox').select('leased_by').distinct();
  const rows = await query.where('status', '=', 'processing').where('status', '<>', sql.lit('sent')).execute();
  return rows.map(row => row.leased_by as string);
}

/** Reclaims all leases of these processes. */
export async function reclaimLeasesOf(
  tx: Tx,
  holders: string[],
): Promise<Pick<MessageRow, 'attempts' | 'generation' | 'history' | 'lane'>[]> {
  return tx.query
    .updateTable('outbox')
    .set(eb => ({ status: 'pending', lease_token: null, leased_by: null, claimable_at: eb.ref('available_at') }))
    .where('status', '=', 'processing')
    .where('status', '<>', sql.lit('sent'))
    .where('leased_by', 'in', holders)
    .returning(['attempts', 'generation', 'history', 'lane'])
    .execute();
}

/** Makes dead messages pending again at their old positions in their lanes: next generation, no attempts used. */
export function requeue(tx: Tx, rows: Pick<MessageRow, 'position' | 'message_key' | 'consumer'>[], now: number): void {
  const lanes = rows.map(({ message_key, consumer }) => laneOf(message_key, consumer));
  for (const [index, { position }] of rows.entries()) {
    tx.send(requeueStatement, { position, lane: lanes[index] as string | null, now });
  }
  putOldestFirst(
    tx,
    lanes.filter(lane => lane !== null),
  );
}

const requeueStatement = statement(
  ({ query, value, leaseNow }: StatementBuilder<{ position: number; lane: string | null; now: number }>) =>
    query
      .updateTable('outbox')
      .set(eb => ({
        status: sql.lit('pending'),
        generation: eb('generation', '+', 1),
        attempts: sql.lit(0),
        last_error: null,
        available_at: leaseNow,
        claimable_at: sql<number>`case when cast(${value('lane')} as text) is null then ${leaseNow} end`,
        lane: value('lane'),
        updated_at: value('now'),
      }))
      .where('position', '=', value('position')),
);

/** The distinct values of `parked`. A loose index scan: the cost grows with the values, not with the messages. */
export async function parkedFor(reader: Reader): Promise<string[]> {
  const { rows } = await sql<{ value: string }>`
    with recursive hop(value) as (
      select min(parked) from outbox where parked is not null
      union all
      select (select min(parked) from outbox where parked is not null and parked > hop.value) from hop where value is not null
    )
    select value from hop where value is not null`.execute(reader.query);
  return rows.map(row => row.value);
}

/** Counts parked messages by their value of `parked`. */
export async function countParked(reader: Reader): Promise<{ parked: string; count: number }[]> {
  const rows = await reader.query
    .selectFrom('outbox')
    .select(['parked', eb => eb.fn.countAll<number>().as('count')])
    .where('parked', 'is not', null)
    .groupBy('parked')
    .orderBy('parked')
    .execute();
  return rows.map(({ parked, count }) => ({ parked: parked as string, count }));
}

/** Counts leases that expired more than `graceMs` ago and that no worker has reclaimed. */
export async function overdueLeases(reader: Reader, graceMs: number): Promise<number> {
  return (await reader.first(overdueLeasesStatement, { graceMs }))?.count ?? 0;
}

const overdueLeasesStatement = statement(({ query, value, leaseNow }: StatementBuilder<{ graceMs: number }>) =>
  query
    .selectFrom('outbox')
    .select(eb => eb.fn.countAll<number>().as('count'))
    .where('status', '=', sql.lit('processing'))
    .where('status', '<>', sql.lit('sent'))
    .where('claimable_at', '<', sql<number>`${leaseNow} - cast(${value('graceMs')} as bigint)`),
);

/** Unparks up to `limit` messages with this value of `parked`, and answers how many. */
export async function unpark(tx: Tx, parked: string, limit: number): Promise<number> {
  const { numUpdatedRows } = await tx.query
    .updateTable('outbox')
    .set(eb => ({ parked: null, claimable_at: eb.ref('available_at') }))
    .where('position', 'in', eb =>
      eb
        .selectFrom('outbox as parked_message')
        .select('parked_message.position')
        .where('parked_message.parked', '=', parked)
        .orderBy('parked_message.position')
        .limit(limit),
    )
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** Names of the consumers whose own copies wait in lanes. */
export async function consumersInLanes(reader: Reader): Promise<string[]> {
  const query = reader.query.selectFrom('outbox').select('consumer').distinct();
  const rows = await query.where('lane', 'is not', null).where('consumer', 'is not', null).execute();
  return rows.map(row => row.consumer as string);
}
