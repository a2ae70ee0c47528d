import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { Statement, type StatementBuilder, statement } from '../db/statement.ts';
import type { DeliveryRow, EndedRow, Lease, LeasedRow } from './leased-delivery.ts';
import type { RoomOf } from './room.ts';

/* Leases in SQL: claim, renew, settle, reclaim. */

/** Suffix of the token of a lease whose predecessor expired. */
const RECLAIMED = '+';

/** Whether the previous lease of the row expired, so its attempt has no recorded outcome. */
export function isReclaimed(lease_token: string): boolean {
  return lease_token.endsWith(RECLAIMED);
}

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
 * Claims up to `limit` due deliveries of these subscriptions, the longest due first; of many subscriptions those of the
 * first {@link SUBSCRIPTIONS_PER_CLAIM} before all others. One whose lease has expired is due again. The claim reads only
 * heads of lanes, in index order, so its cost depends on neither backlog nor history.
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
  ({ query, value, integerElements, leaseNow }: StatementBuilder<Claim & { positions: string }>) =>
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
      .where('position', 'in', integerElements('positions'))
      .returningAll(),
);

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
  const ended = await tx.all(endLeasesStatement, { groups: JSON.stringify(groups) });
  return ended.map(({ position }) => position);
}

const endLeasesStatement = statement(
  ({ query, records, elementsOf, leaseNow }: StatementBuilder<{ groups: string }>) => {
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
        sql<AlikeEndings & { position: number }>`(
          select one.*, cast(value as bigint) as position from ${groups} as one, ${elementsOf(sql.ref('one.positions'))})`.as(
          'ended',
        ),
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
  const query = reader.query.selectFrom('deliveries').select('leased_by').distinct();
  const rows = await query.where('status', '=', 'processing').where('status', '<>', sql.lit('sent')).execute();
  return rows.map(row => row.leased_by as string);
}

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
