import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Changes, NewRow, Row } from '../db/schema.ts';
import type { Lease } from './delivery.ts';

export type MessageRow = Row<'outbox'>;

/** What a message is before it has a place in the outbox. Without `available_at` it is available at once. */
export type NewMessageRow = Pick<
  MessageRow,
  'message_id' | 'topic' | 'message_key' | 'payload' | 'event_sequence' | 'max_attempts'
> & {
  available_at?: number | undefined;
  created_at: number;
};

/**
 * Puts messages at the end of their lanes. The first message of an empty lane is its head and can be claimed; the others
 * become claimable when they get there.
 */
export async function insertMessages(tx: Tx, rows: NewMessageRow[]): Promise<void> {
  const lanes = new Set<string>();
  const values = rows.map(({ available_at, ...row }): NewRow<'outbox'> => {
    // The cast is for PostgreSQL, which takes a bare parameter inside `case` for text.
    const at = available_at === undefined ? sql<number>`${tx.leaseNow}` : sql<number>`cast(${available_at} as bigint)`;
    const lane = row.message_key;
    const head =
      lane === null
        ? at
        : lanes.has(lane)
          ? null
          : sql<number>`case when ${laneIsTaken(lane)} then null else ${at} end`;
    if (lane !== null) lanes.add(lane);
    return {
      ...row,
      status: 'pending',
      attempts: 0,
      generation: 1,
      available_at: at,
      claimable_at: head,
      lane,
      history: '[]',
      updated_at: row.created_at,
    } as NewRow<'outbox'>;
  });
  await tx.query.insertInto('outbox').values(values).execute();
}

function laneIsTaken(lane: string) {
  return sql<boolean>`exists (select 1 from outbox where lane = ${lane})`;
}

/**
 * Leases up to `limit` messages that are due, the longest waiting first. A message whose lease has run out is due again.
 * Only heads of lanes are looked at, in the order of the index, so the cost depends on neither backlog nor history.
 */
export async function claimMessages(
  tx: Tx,
  claim: { limit: number; lease_token: string; leased_by: string; leaseMs: number; now: number },
): Promise<MessageRow[]> {
  const { limit, lease_token, leased_by, leaseMs, now } = claim;
  const rows = await tx.query
    .with('due', query =>
      query
        .selectFrom('outbox')
        .select('position')
        .where('claimable_at', '<=', tx.leaseNow)
        .orderBy('claimable_at')
        .orderBy('position')
        .limit(limit),
    )
    .updateTable('outbox')
    .set(eb => ({
      status: 'processing' as const,
      attempts: eb('attempts', '+', 1),
      claimable_at: sql<number>`${tx.leaseNow} + ${leaseMs}`,
      lease_token,
      leased_by,
      updated_at: now,
    }))
    .where('position', 'in', eb => eb.selectFrom('due').select('position'))
    .returningAll()
    .execute();
  return rows.sort((a, b) => a.position - b.position);
}

/** Prolongs leases that are still held and answers those. */
export async function renewLeases(tx: Tx, leases: Lease[], leaseMs: number): Promise<Lease[]> {
  const rows = await tx.query
    .updateTable('outbox')
    .set({ claimable_at: sql<number>`${tx.leaseNow} + ${leaseMs}` })
    .where(
      'position',
      'in',
      leases.map(lease => lease.position),
    )
    .where('lease_token', 'in', [...new Set(leases.map(lease => lease.lease_token))])
    .returning(['position', 'lease_token'])
    .execute();
  return rows as Lease[];
}

/** Ends a lease with these changes. False, and nothing changed, if it is no longer held. */
export async function endLease(tx: Tx, lease: Lease, changes: Changes<'outbox'>): Promise<boolean> {
  const { numUpdatedRows } = await tx.query
    .updateTable('outbox')
    .set({ ...changes, lease_token: null, leased_by: null })
    .where('position', '=', lease.position)
    .where('lease_token', '=', lease.lease_token)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Lets the next message of a lane be claimed, after its head has left. */
export async function promoteNext(tx: Tx, lane: string): Promise<void> {
  await tx.query
    .updateTable('outbox')
    .set(eb => ({ claimable_at: eb.ref('available_at') }))
    .where('position', '=', eb =>
      eb
        .selectFrom('outbox as next')
        .select('next.position')
        .where('next.lane', '=', lane)
        .orderBy('next.position')
        .limit(1),
    )
    .execute();
}

/** Gives every lease back, whoever holds it. Only for a process that knows that nobody else can be alive. */
export async function endAllLeases(tx: Tx): Promise<number> {
  const { numUpdatedRows } = await tx.query
    .updateTable('outbox')
    .set(eb => ({ status: 'pending', lease_token: null, leased_by: null, claimable_at: eb.ref('available_at') }))
    .where('status', '=', 'processing')
    .where('status', '<>', sql.lit('sent'))
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

export async function countSent(tx: Tx, topic: string): Promise<void> {
  await tx.query
    .insertInto('topics')
    .values({ topic, sent: 1 })
    .onConflict(conflict => conflict.column('topic').doUpdateSet(eb => ({ sent: eb('topics.sent', '+', 1) })))
    .execute();
}

/** The topics with parked messages. Hops from one to the next on the index instead of walking all their messages. */
export async function parkedTopics(reader: Reader): Promise<string[]> {
  const { rows } = await sql<{ topic: string }>`
    with recursive parked(topic) as (
      select min(topic) from outbox where parked is not null
      union all
      select (select min(topic) from outbox where parked is not null and topic > parked.topic) from parked where topic is not null
    )
    select topic from parked where topic is not null`.execute(reader.query);
  return rows.map(row => row.topic);
}

/** Lets up to `limit` parked messages of a topic be claimed again and answers how many there were. */
export async function unpark(tx: Tx, topic: string, limit: number): Promise<number> {
  const { numUpdatedRows } = await tx.query
    .updateTable('outbox')
    .set(eb => ({ parked: null, claimable_at: eb.ref('available_at') }))
    .where('position', 'in', eb =>
      eb
        .selectFrom('outbox as held')
        .select('held.position')
        .where('held.parked', 'is not', null)
        .where('held.topic', '=', topic)
        .orderBy('held.position')
        .limit(limit),
    )
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

export async function findMessage(reader: Reader, messageId: string): Promise<MessageRow | undefined> {
  return reader.query.selectFrom('outbox').selectAll().where('message_id', '=', messageId).executeTakeFirst();
}

/** Oldest first. `from` is the position at which the page before ended. */
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
  // Said again in the words of the partial index: SQLite does not conclude it from the line above.
  if (status !== undefined && status !== 'sent') query = query.where('status', '<>', sql.lit('sent'));
  return query.orderBy('position').limit(limit).execute();
}

/** How many messages there are of each topic and status; sent ones are counted in `topics`. */
export async function countMessages(
  reader: Reader,
): Promise<{ topic: string; status: MessageRow['status']; count: number }[]> {
  const unsent = await reader.query
    .selectFrom('outbox')
    .select(['topic', 'status', eb => eb.fn.countAll<number>().as('count')])
    .where('status', '<>', sql.lit('sent'))
    .groupBy(['topic', 'status'])
    .execute();
  const sent = await reader.query.selectFrom('topics').select(['topic', 'sent as count']).execute();
  return [...unsent, ...sent.map(row => ({ ...row, status: 'sent' as const }))];
}

/** When the message that has been pending for longest was published. */
export async function oldestPending(reader: Reader): Promise<number | null> {
  const row = await reader.query
    .selectFrom('outbox')
    .select('created_at')
    .where('status', '=', 'pending')
    .where('status', '<>', sql.lit('sent'))
    .orderBy('position')
    .limit(1)
    .executeTakeFirst();
  return row?.created_at ?? null;
}
