import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Changes, NewRow } from '../db/schema.ts';
import { type Lease, laneOf, type MessageRow } from './delivery.ts';

/** What a message is before it has a place in the outbox. Without `available_at` it is available at once. */
export type NewMessageRow = Pick<
  MessageRow,
  'message_id' | 'topic' | 'message_key' | 'payload' | 'event_sequence' | 'max_attempts' | 'consumer' | 'origin_id'
> & { available_at?: number | undefined; created_at: number };

/**
 * Puts messages at the end of their lanes. The first message of an empty lane is its head and can be claimed; the others
 * become claimable when they get there.
 */
export async function insertMessages(tx: Tx, rows: NewMessageRow[]): Promise<void> {
  const lanes = new Set<string>();
  const values = rows.map(({ available_at, ...row }): NewRow<'outbox'> => {
    // The cast is for PostgreSQL, which takes a bare parameter inside `case` for text.
    const at = available_at === undefined ? sql<number>`${tx.leaseNow}` : sql<number>`cast(${available_at} as bigint)`;
    const lane = laneOf(row.message_key, row.consumer);
    const behind = lane !== null && lanes.has(lane);
    if (lane !== null) lanes.add(lane);
    const claimable_at = lane === null ? at : sql<number>`case when ${laneIsTaken(lane)} then null else ${at} end`;
    return {
      ...row,
      status: 'pending',
      attempts: 0,
      generation: 1,
      available_at: at,
      claimable_at: behind ? null : claimable_at,
      lane,
      history: '[]',
      updated_at: row.created_at,
    } as NewRow<'outbox'>;
  });
  await tx.query.insertInto('outbox').values(values).execute();
}

function laneIsTaken(lane: string) {
  return sql<boolean>`exists (select 1 from outbox as other where other.lane = ${lane})`;
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

/**
 * Lets the next message of a lane be claimed, after its head has left. It queues behind the heads of other lanes that
 * are due by now, so that a lane with a long backlog takes its turn like any other.
 */
export async function promoteNext(tx: Tx, lane: string): Promise<void> {
  await tx.query
    .updateTable('outbox')
    .set({
      claimable_at: sql<number>`case when available_at > ${tx.leaseNow} then available_at else ${tx.leaseNow} end`,
    })
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

/** The processes that hold leases. */
export async function leaseHolders(reader: Reader): Promise<string[]> {
  const query = reader.query.selectFrom('outbox').select('leased_by').distinct();
  const rows = await query.where('status', '=', 'processing').where('status', '<>', sql.lit('sent')).execute();
  return rows.map(row => row.leased_by as string);
}

/** Takes the leases of these processes from them and answers how many there were. */
export async function endLeasesOf(tx: Tx, holders: string[]): Promise<number> {
  const { numUpdatedRows } = await tx.query
    .updateTable('outbox')
    .set(eb => ({ status: 'pending', lease_token: null, leased_by: null, claimable_at: eb.ref('available_at') }))
    .where('status', '=', 'processing')
    .where('status', '<>', sql.lit('sent'))
    .where('leased_by', 'in', holders)
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** Puts a message that is not under a lease where these changes say. */
export async function updateMessage(tx: Tx, position: number, changes: Changes<'outbox'>): Promise<void> {
  await tx.query.updateTable('outbox').set(changes).where('position', '=', position).execute();
}

/** Keeps what a handler says that it made (JSON). */
export async function updateResult(tx: Tx, messageIds: string[], result: string): Promise<void> {
  await tx.query.updateTable('outbox').set({ result }).where('message_id', 'in', messageIds).execute();
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
  await promoteNext(tx, lane);
}

export async function countSent(tx: Tx, topic: string): Promise<void> {
  await tx.query
    .insertInto('topics')
    .values({ topic, sent: 1 })
    .onConflict(conflict => conflict.column('topic').doUpdateSet(eb => ({ sent: eb('topics.sent', '+', 1) })))
    .execute();
}

export async function setPaused(tx: Tx, topic: string, paused: 0 | 1): Promise<void> {
  await tx.query
    .insertInto('topics')
    .values({ topic, paused })
    .onConflict(conflict => conflict.column('topic').doUpdateSet({ paused }))
    .execute();
}

export async function pausedTopics(reader: Reader): Promise<string[]> {
  const query = reader.query.selectFrom('topics').select('topic').where('paused', '=', sql.lit(1));
  return (await query.orderBy('topic').execute()).map(row => row.topic);
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

/** The dead messages that their lanes wait for, oldest first. */
export async function listBlocking(reader: Reader, limit: number): Promise<MessageRow[]> {
  return reader.query
    .selectFrom('outbox')
    .selectAll()
    .where('status', '=', 'dead')
    .where('status', '<>', sql.lit('sent'))
    .where('lane', 'is not', null)
    .orderBy('position')
    .limit(limit)
    .execute();
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
  const sent = await reader.query
    .selectFrom('topics')
    .select(['topic', 'sent as count'])
    .where('sent', '>', 0)
    .execute();
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

/**
 * Deletes what is done and older than `before` among the `limit` messages after `from`. Answers where to go on, or null
 * at the end of what is old enough.
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
