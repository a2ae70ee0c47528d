import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import { laneOf } from './lane.ts';
import type { EndedRow, Lease, LeasedRow, MessageRow, NewMessageRow } from './leased-delivery.ts';
import { updateMessage } from './repository.ts';

/*
 * How lanes and leases work in SQL. A message is in the lane of its key until it is terminal; only the head of a lane can
 * be claimed, and has a `claimable_at`.
 */

/**
 * Puts messages at the end of their lanes. The first message of an empty lane is its head and can be claimed; the others
 * become claimable when they get there.
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
  // The cast is for PostgreSQL, which takes a bare parameter inside `coalesce` and `case` for text.
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

/** At the end of the token of a lease whose predecessor ran out. */
const RECLAIMED = '+';

/** Whether the lease before the one of this token ran out, so that nobody said what became of the attempt. */
export function isReclaimed(lease_token: string): boolean {
  return lease_token.endsWith(RECLAIMED);
}

interface Claim {
  limit: number;
  /** The tokens of the leases are made of it: see {@link isReclaimed}. */
  lease_token: string;
  leased_by: string;
  leaseMs: number;
  now: number;
}

/**
 * Leases up to `limit` messages that are due, the longest waiting first. A message whose lease has run out is due again.
 * Only heads of lanes are looked at, in the order of the index, so the cost depends on neither backlog nor history.
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
      // A lease that was ended has left no token. What comes back is the new row only, so the new token has to say it.
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

/** Prolongs leases that are still held and answers those. */
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

/** Ends a lease and leaves the row like this. False, and nothing changed, if the lease is no longer held. */
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

/** What several deliveries of one claim have in common that were handled alike. */
interface Handled {
  lease_token: string;
  /** JSON. */
  positions: string;
  history: string;
  now: number;
}

/**
 * Ends the leases of messages that were handled, and answers the positions of those that were still held. Nothing has
 * changed at the others.
 */
export async function markSent(tx: Tx, positions: number[], handled: Omit<Handled, 'positions'>): Promise<number[]> {
  const rows = await tx.all(markSentStatement, { ...handled, positions: JSON.stringify(positions) });
  return rows.map(row => row.position);
}

const markSentStatement = statement(({ query, value, listed }: StatementBuilder<Handled>) =>
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
    .where('position', 'in', listed('positions'))
    .where('lease_token', '=', value('lease_token'))
    .returning('position'),
);

/**
 * Lets the next message of each of these lanes be claimed, after its head has left. It queues behind the heads of other
 * lanes that are due by now, so that a lane with a long backlog takes its turn like any other.
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

/** The processes that hold leases. */
export async function leaseHolders(reader: Reader): Promise<string[]> {
  const query = reader.query.selectFrom('outbox').select('leased_by').distinct();
  const rows = await query.where('status', '=', 'processing').where('status', '<>', sql.lit('sent')).execute();
  return rows.map(row => row.leased_by as string);
}

/** Takes the leases of these processes from them. */
export async function endLeasesOf(
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

/** Takes a dead message back into its old place in its lane, with all attempts anew. */
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
  if (lane !== null) await putOldestFirst(tx, lane);
}

/** Makes the oldest message of a lane its head, unless its head is being handled or is dead and blocks it. */
async function putOldestFirst(tx: Tx, lane: string): Promise<void> {
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

/** What parked messages wait for. Hops from one value to the next on the index instead of walking all the messages. */
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

/** How many messages wait for each thing. */
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

/** How many messages are under leases that ended more than `graceMs` ago. */
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

/** Lets up to `limit` messages that wait for this be claimed again and answers how many there were. */
export async function unpark(tx: Tx, parked: string, limit: number): Promise<number> {
  const { numUpdatedRows } = await tx.query
    .updateTable('outbox')
    .set(eb => ({ parked: null, claimable_at: eb.ref('available_at') }))
    .where('position', 'in', eb =>
      eb
        .selectFrom('outbox as held')
        .select('held.position')
        .where('held.parked', '=', parked)
        .orderBy('held.position')
        .limit(limit),
    )
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** The consumers that have messages of their own waiting in lanes. */
export async function consumersInLanes(reader: Reader): Promise<string[]> {
  const query = reader.query.selectFrom('outbox').select('consumer').distinct();
  const rows = await query.where('lane', 'is not', null).where('consumer', 'is not', null).execute();
  return rows.map(row => row.consumer as string);
}
