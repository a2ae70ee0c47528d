import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import { laneOf } from './lane.ts';
import type { EndedRow, Lease, LeasedRow, MessageRow, NewMessageRow } from './leased-delivery.ts';
import { updateMessage } from './repository.ts';

/*
 * Lanes and leases in SQL. A message stays in the lane of its key until it ends or dies without blocking. Only the head
 * of a lane has a `claimable_at`, so only heads are claimed.
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
    ...values(['origin_id', 'traceparent', 'lane', 'created_at', 'updated_at']),
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
    ),
);

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
): Promise<Pick<MessageRow, 'attempts' | 'generation' | 'history'>[]> {
  return tx.query
    .updateTable('outbox')
    .set(eb => ({ status: 'pending', lease_token: null, leased_by: null, claimable_at: eb.ref('available_at') }))
    .where('status', '=', 'processing')
    .where('status', '<>', sql.lit('sent'))
    .where('leased_by', 'in', holders)
    .returning(['attempts', 'generation', 'history'])
    .execute();
}

/** Makes a dead message pending again at its old position in its lane: next generation, no attempts used. */
export async function requeue(tx: Tx, row: MessageRow, now: number): Promise<void> {
  const lane = laneOf(row.message_key, row.consumer);
  await tx.query
    .updateTable('outbox')
    .set(eb => ({
      status: 'pending' as const,
      generation: eb('generation', '+', 1),
      attempts: 0,
      last_error: null,
      available_at: tx.leaseNow,
      claimable_at: lane === null ? tx.leaseNow : null,
      lane,
      updated_at: now,
    }))
    .where('position', '=', row.position)
    .execute();
  if (lane !== null) await makeOldestHead(tx, lane);
}

/** Makes the oldest message of a lane its head, unless the present head is processing, or dead and blocking. */
async function makeOldestHead(tx: Tx, lane: string): Promise<void> {
  const head = await tx.query
    .selectFrom('outbox')
    .select(['position', 'status'])
    .where('lane', '=', lane)
    .where(eb => eb.or([eb('claimable_at', 'is not', null), eb('parked', 'is not', null), eb('status', '=', 'dead')]))
    .orderBy('position')
    .limit(1)
    .executeTakeFirst();
  if (head?.status === 'processing' || head?.status === 'dead') return;
  if (head) await updateMessage(tx, head.position, { claimable_at: null, parked: null });
  promoteNext(tx, [lane]);
}

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
