import { setTimeout as delay } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import type pg from 'pg';
import { Overtaken } from '../errors.ts';
import { unknownAmong } from '../migrator.ts';
import type { Presence } from '../presence.ts';
import type { Schema } from '../schema.ts';
import { EVERYTHING } from './locks.ts';
import { RECONNECT_MS, type StandingConnection } from './session.ts';

/**
 * A process counts as dead if its lock is missing in two checks this far apart. A process that has just started cannot
 * know of an outage that hit everybody. It waits longer than others pause before a reconnect. Milliseconds.
 */
const RECHECK_MS = { usual: 250, young: RECONNECT_MS.longest + 500 };
/**
 * After this process reconnects, no process counts as dead for so long. A server that restarts or hangs breaks all
 * connections, and each process looks dead until it reconnects, some seconds later. Milliseconds.
 */
const RECONNECT_GRACE_MS = 10_000;

/** The advisory lock that a migration holds which leaves older processes behind; it has a class of its own. */
const MIGRATING = '1179603541, 0';

/**
 * Presence on PostgreSQL. Each connection of a process holds an advisory lock on the process's name, shared with its
 * other connections. The server drops the lock with the connection. So a process is alive while it has any connection,
 * and it needs one to renew its leases. A live process that lost all of them reconnects before the second check.
 * @param own receives the name of this process; the set-up of a connection takes the lock under it
 */
export function advisoryPresence(pool: pg.Pool, connection: StandingConnection, own: { name?: string }): Presence {
  async function missingAmong(names: string[]): Promise<string[]> {
    if (names.length === 0) return [];
    const { rows } = await pool.query<{ name: string }>(MISSING, [names]);
    return rows.map(row => row.name);
  }

  return {
    async register(name) {
      own.name = name;
      await connection.open();
    },

    async deadAmong(names) {
      const { connectedAt, isFirst } = connection;
      if (connectedAt === undefined) return [];
      const isYoung = performance.now() - connectedAt < RECONNECT_GRACE_MS;
      if (isYoung && !isFirst) return [];
      const others = names.filter(name => name !== own.name);
      const suspects = await missingAmong(others);
      if (suspects.length === 0) return [];
      await delay(isYoung ? RECHECK_MS.young : RECHECK_MS.usual);
      return missingAmong(suspects);
    },
  };
}

/** Takes the lock of the process `name` on a connection. */
export async function holdPresence(client: pg.ClientBase, name: string): Promise<void> {
  await client.query('select pg_advisory_lock_shared(hashtextextended($1, 0))', [name]);
}

/**
 * Takes the lock on a new connection, waits for a migration that leaves this process behind, and looks at the schema. None
 * begins while a connection holds the lock. So a process that was cut off meanwhile writes nothing more.
 * @throws Overtaken if a newer version has migrated the database
 */
export async function returnPresent(client: pg.ClientBase, name: string): Promise<void> {
  await holdPresence(client, name);
  await client.query(`select pg_advisory_xact_lock_shared(${MIGRATING})`);
  const { rows } = await client.query<{ name: string }>('select name from kysely_migration');
  const unknown = unknownAmong(rows.map(row => row.name));
  if (unknown.length > 0) throw new Overtaken(unknown);
}

/**
 * Counts the processes that have registered, in a transaction of migrations. Those that come later wait for its end in
 * {@link returnPresent}.
 */
export async function countBeforeMigration(tx: Kysely<Schema>): Promise<number> {
  await sql`select pg_advisory_xact_lock(${sql.raw(MIGRATING)})`.execute(tx);
  return countPresent(tx);
}

/** Counts the processes that have registered. Of the other advisory locks of this form, one is shared. */
export async function countPresent(db: Kysely<Schema>): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(distinct (classid, objid))::int as count from pg_locks
    where locktype = 'advisory' and objsubid = 1 and mode = 'ShareLock' and granted
      and (classid::bigint << 32) | objid::bigint <> ${sql.raw(EVERYTHING)}
      and database = (select oid from pg_database where datname = current_database())`.execute(db);
  return rows[0]?.count ?? 0;
}

/** pg_locks shows a 64-bit advisory lock as two halves. */
const MISSING = `
  select name from unnest($1::text[]) as name
  where not exists (
    select 1 from pg_locks
    where locktype = 'advisory' and objsubid = 1 and granted
      and database = (select oid from pg_database where datname = current_database())
      and (classid::bigint << 32) | objid::bigint = hashtextextended(name, 0)
  )`;
