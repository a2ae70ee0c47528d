import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import { RECLAIMED } from './delivery-repository.ts';
import type { DeliveryRow, Lease, LeasedRow } from './leased-delivery.ts';

/* Leases in SQL, beside claim and end: they are renewed, and taken back from processes that died. */

/** Renews the leases that are still held, and answers them. */
export async function renewLeases(tx: Tx, leases: Lease[], leaseMs: number): Promise<Lease[]> {
  if (leases.length === 0) return [];
  const rows = await tx.query
    .updateTable('deliveries')
    .set({ claimable_at: sql<number>`${tx.leaseNow} + ${leaseMs}` })
    .where(eb => {
      const held = leases.map(lease => eb.tuple(lease.position, lease.lease_token));
      return eb(eb.refTuple('position', 'lease_token'), 'in', held);
    })
    .returning(['position', 'lease_token'])
    .execute();
  return rows as Lease[];
}

/** The leases of this process that were claimed with these tokens. */
export async function leasesOf(tx: Tx, leased_by: string, tokens: string[]): Promise<LeasedRow[]> {
  const rows = await tx.query
    .selectFrom('deliveries')
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
  return (await reader.all(leaseHoldersStatement, {})).map(row => row.leased_by as string);
}

const leaseHoldersStatement = statement(({ query }: StatementBuilder<object>) =>
  query
    .selectFrom('deliveries')
    .select('leased_by')
    .distinct()
    .where('status', '=', sql.lit('processing'))
    .where('status', '<>', sql.lit('sent')),
);

/** Reclaims all leases of these processes. */
export async function reclaimLeasesOf(
  tx: Tx,
  holders: string[],
): Promise<Pick<DeliveryRow, 'position' | 'subscription_id' | 'attempts' | 'generation' | 'history'>[]> {
  return tx.query
    .updateTable('deliveries')
    .set(eb => ({ status: 'pending', lease_token: null, leased_by: null, claimable_at: eb.ref('available_at') }))
    .where('status', '=', 'processing')
    .where('status', '<>', sql.lit('sent'))
    .where('leased_by', 'in', holders)
    .returning(['position', 'subscription_id', 'attempts', 'generation', 'history'])
    .execute();
}

/** Counts leases that expired more than `graceMs` ago and that no worker has reclaimed. */
export async function overdueLeases(reader: Reader, graceMs: number): Promise<number> {
  return (await reader.first(overdueLeasesStatement, { graceMs }))?.count ?? 0;
}

const overdueLeasesStatement = statement(({ query, value, leaseNow }: StatementBuilder<{ graceMs: number }>) =>
  query
    .selectFrom('deliveries')
    .select(eb => eb.fn.countAll<number>().as('count'))
    .where('status', '=', sql.lit('processing'))
    .where('status', '<>', sql.lit('sent'))
    .where('claimable_at', '<', sql<number>`${leaseNow} - cast(${value('graceMs')} as bigint)`),
);
