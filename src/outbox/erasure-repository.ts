import { sql } from 'kysely';
import type { Tx } from '../db/database.ts';
import type { DeliveryRow } from './leased-delivery.ts';

type Found = Pick<DeliveryRow, 'position' | 'status' | 'queued' | 'claimable_at' | 'parked'>;

/** The deliveries of these events. */
export async function deliveriesAt(tx: Tx, sequences: number[]): Promise<Found[]> {
  if (sequences.length === 0) return [];
  return tx.query
    .selectFrom('deliveries')
    .select(['position', 'status', 'queued', 'claimable_at', 'parked'])
    .where('event_sequence', 'in', sequences)
    .where('event_sequence', 'is not', null)
    .execute();
}

/** The deliveries of these published messages. */
export async function deliveriesOf(tx: Tx, numbers: number[]): Promise<Found[]> {
  if (numbers.length === 0) return [];
  return tx.query
    .selectFrom('deliveries')
    .select(['position', 'status', 'queued', 'claimable_at', 'parked'])
    .where('message_number', 'in', numbers)
    .where('message_number', 'is not', null)
    .execute();
}

/**
 * Discards those of these deliveries that have not ended, also under a lease, and empties what was said of their attempts.
 * @param now epoch milliseconds
 */
export async function eraseDeliveries(tx: Tx, positions: number[], now: number): Promise<void> {
  if (positions.length === 0) return;
  const isSent = sql<boolean>`status = 'sent'`;
  await tx.query
    .updateTable('deliveries')
    .set({
      status: sql<'sent' | 'discarded'>`case when ${isSent} then 'sent' else 'discarded' end`,
      updated_at: sql<number>`case when status in ('sent', 'discarded') then updated_at else cast(${now} as bigint) end`,
      ...{ queued: 0, claimable_at: null, parked: 0, lease_token: null, leased_by: null },
      ...{ last_error: null, history: '[]', result: null },
    })
    .where('position', 'in', positions)
    .execute();
}

/** The numbers of some published messages about a run or one of its threads. */
export async function messagesAbout(tx: Tx, run_id: string, limit: number): Promise<number[]> {
  const { rows } = await sql<{ number: number }>`
    select number from messages where run_id = ${run_id} and run_id is not null
    union all
    select number from threads cross join messages
    where threads.run_id = ${run_id} and messages.thread_id = threads.thread_id and messages.thread_id is not null
    limit ${limit}`.execute(tx.query);
  return rows.map(row => row.number);
}

/** Replaces the payloads (JSON) of these published messages; they are about nothing any more. */
export async function eraseMessages(tx: Tx, numbers: number[], payload: string): Promise<void> {
  await tx.query
    .updateTable('messages')
    .set({ payload, run_id: null, thread_id: null })
    .where('number', 'in', numbers)
    .execute();
}
