import fc from 'fast-check';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Database } from '../../src/db/database.ts';
import { openDatabase } from '../../src/db/open.ts';
import type * as Statements from '../../src/outbox/lease-repository.ts';
import type { LeasedRow } from '../../src/outbox/leased-delivery.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { begin, type Makers, outboxAgrees } from './model-commands.ts';

/** The same sequences of commands at every run. With this seed each breakage shows soon. */
const SEED = 9;
const RUNS = { sqlite: 60, postgres: 15 };
/** How many sequences a breakage may survive. */
const RUNS_TO_CATCH = 300;

const REPOSITORY = '../../src/outbox/lease-repository.ts';

/** Functions of the repository, broken as a careless change could break them. */
type Breakage = (sound: typeof Statements) => Partial<typeof Statements>;

/** Makers whose services stand on the repository as the breakage leaves it; loaded once for both engines. */
function makersOn(name: string, breakage: Breakage): Promise<Makers> {
  const made = loaded.get(name) ?? loadOn(breakage);
  loaded.set(name, made);
  return made;
}

const loaded = new Map<string, Promise<Makers>>();

async function loadOn(breakage: Breakage): Promise<Makers> {
  vi.resetModules();
  vi.doMock(REPOSITORY, async () => {
    const sound = await vi.importActual<typeof Statements>(REPOSITORY);
    return { ...sound, ...breakage(sound) };
  });
  const { createDeliveryService } = await import('../../src/outbox/delivery-service.ts');
  const { createOutbox } = await import('../../src/outbox/service.ts');
  const { createOutboxMaintenance } = await import('../../src/outbox/maintenance.ts');
  return { createDeliveryService, createOutboxMaintenance, createOutbox };
}

const breakages: Record<string, Breakage> = {
  'ending a lease without asking for its token': () => ({
    async endLease(tx, _token, { position, available_in = null, claimable_in = null, ...changes }) {
      const after = (delay: number | null) => sql<number | null>`${tx.leaseNow} + cast(${delay} as bigint)`;
      const times = {
        available_at: sql<number>`coalesce(${after(available_in)}, available_at)`,
        claimable_at: after(claimable_in),
      };
      const { numUpdatedRows } = await tx.query
        .updateTable('outbox')
        .set({ ...changes, ...times, lease_token: null, leased_by: null })
        .where('position', '=', position)
        .executeTakeFirst();
      return numUpdatedRows > 0n;
    },
  }),
  'marking a message sent without asking for its token': () => ({
    async markSent(tx, positions, { history, now }) {
      const sent = { status: 'sent' as const, claimable_at: null, lane: null, sent_at: now, updated_at: now, history };
      await tx.query
        .updateTable('outbox')
        .set({ ...sent, last_error: null, lease_token: null, leased_by: null })
        .where('position', 'in', positions)
        .execute();
      return positions;
    },
  }),
  'publishing without asking whether the lane is taken': sound => ({
    async insertMessages(tx, rows) {
      await sound.insertMessages(tx, rows);
      const ids = rows.map(row => row.message_id);
      const due = { claimable_at: sql<number>`available_at` };
      await tx.query.updateTable('outbox').set(due).where('message_id', 'in', ids).execute();
    },
  }),
  'leaving a lane without promoting the next': () => ({ async promoteNext() {} }),
  'promoting the newest of a lane': () => ({
    async promoteNext(tx, lanes) {
      if (lanes.length === 0) return;
      await tx.query
        .updateTable('outbox')
        .set({
          claimable_at: sql<number>`case when available_at > ${tx.leaseNow} then available_at else ${tx.leaseNow} end`,
        })
        .where('position', 'in', eb =>
          eb
            .selectFrom('outbox as last')
            .select(last => last.fn.max('last.position').as('position'))
            .where('last.lane', 'in', lanes)
            .groupBy('last.lane'),
        )
        .execute();
    },
  }),
  'claiming nothing whose lease has run out': () => ({
    claimMessages: claimWhere(sql`status <> 'processing'`, sql`claimable_at`),
  }),
  'claiming the oldest instead of the longest waiting': () => ({ claimMessages: claimWhere(sql`true`, sql`position`) }),
  'renewing a lease without asking for its token': sound => ({
    async renewLeases(tx, leases, leaseMs) {
      const positions = leases.map(lease => lease.position);
      const due = { claimable_at: sql<number>`${tx.leaseNow} + ${leaseMs}` };
      await tx.query
        .updateTable('outbox')
        .set(due)
        .where('position', 'in', positions)
        .where('status', '=', 'processing')
        .execute();
      return sound.renewLeases(tx, leases, leaseMs);
    },
  }),
  'taking back what the living hold': sound => ({
    async reclaimLeasesOf(tx) {
      return sound.reclaimLeasesOf(tx, await sound.leaseHolders(tx));
    },
  }),
  'replaying without asking whether the lane is taken': sound => ({
    async requeue(tx, rows, now) {
      sound.requeue(tx, rows, now);
      const due = { claimable_at: tx.leaseNow };
      const positions = rows.map(row => row.position);
      await tx.query.updateTable('outbox').set(due).where('position', 'in', positions).execute();
    },
  }),
  'letting a message go on before an older one that has come back': () => ({ putOldestFirst() {} }),
  'claiming a message again before an older one that has come back': () => ({ overtaking: async () => new Set() }),
};

/** The claim with a condition more, or in another order. */
function claimWhere(condition: ReturnType<typeof sql>, order: ReturnType<typeof sql>): typeof Statements.claimMessages {
  return async (tx, { limit, lease_token, leased_by, leaseMs, now }) => {
    const due = await tx.query
      .selectFrom('outbox')
      .select('position')
      .where('claimable_at', '<=', tx.leaseNow)
      .where(sql<boolean>`${condition}`)
      .orderBy(order)
      .limit(limit)
      .execute();
    if (due.length === 0) return [];
    const rows = await tx.query
      .updateTable('outbox')
      .set(eb => ({
        status: 'processing' as const,
        attempts: eb('attempts', '+', 1),
        claimable_at: sql<number>`${tx.leaseNow} + ${leaseMs}`,
        lease_token,
        leased_by,
        updated_at: now,
      }))
      .where(
        'position',
        'in',
        due.map(row => row.position),
      )
      .returningAll()
      .execute();
    return (rows as LeasedRow[]).sort((a, b) => a.position - b.position);
  };
}

describe.each(engines)('the outbox on %s', engine => {
  let scratch: Scratch;
  let db: Database;
  const clock = new ManualClock();

  beforeAll(async () => {
    scratch = await scratchDatabase(engine);
    db = await openDatabase(scratch.url, pino({ level: 'silent' }), clock);
  });
  afterAll(async () => {
    await db.close();
    await scratch.drop();
  });
  afterEach(() => {
    vi.doUnmock(REPOSITORY);
    // Or what stands on the broken repository would be found by whoever imports it next, in other files too.
    vi.resetModules();
  });

  it('does what its model does, whatever is asked of it', async () => {
    const makers = await makersOn('none', () => ({}));
    const property = outboxAgrees(() => begin(db, clock, makers));
    await fc.assert(property, { seed: SEED, numRuns: RUNS[engine] });
  });

  // This proves the commands, so one engine is enough.
  it.each(engine === 'sqlite' ? Object.keys(breakages) : [])('catches %s', async name => {
    const makers = await makersOn(name, breakages[name] as Breakage);
    const property = outboxAgrees(() => begin(db, clock, makers));
    // Not fc.assert: the first counterexample is proof enough, and need not be shrunk.
    const result = await fc.check(property, { seed: SEED, numRuns: RUNS_TO_CATCH, endOnFailure: true });
    // Either the model disagreed, or a constraint of the store did.
    const error = { message: expect.stringMatching(/expected|constraint/) };
    expect(result).toMatchObject({ failed: true, errorInstance: error });
  });
});
