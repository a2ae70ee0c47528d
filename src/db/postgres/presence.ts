import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Presence } from '../presence.ts';
import { RECONNECT_MS, type StandingConnection } from './session.ts';

/**
 * A name must be missing at two looks this far apart before its process counts as dead. A process that has only just
 * started cannot know of a break that has hit everybody; it waits longer than others pause before they connect again.
 * Milliseconds.
 */
const SECOND_LOOK_MS = { usual: 250, young: RECONNECT_MS.longest + 500 };
/**
 * What breaks the connection of this process (a server that restarts or hangs) breaks those of others; they come back one
 * after the other, each some seconds later at most, and until then look dead. Milliseconds.
 */
const ALL_BACK_MS = 10_000;

/**
 * On PostgreSQL each connection of a process holds an advisory lock on its name, shared with its others; the server drops
 * it as soon as the connection is gone. So a process is alive as long as it has any connection: one that renews its leases
 * is. A living process that has lost all of them connects again at once, well before the second look; after a break of our
 * own nobody counts as dead for a while.
 */
export function advisoryPresence(pool: pg.Pool, connection: StandingConnection, own: { name?: string }): Presence {
  async function missingAmong(names: string[]): Promise<string[]> {
    if (names.length === 0) return [];
    const { rows } = await pool.query<{ name: string }>(MISSING, [names]);
    return rows.map(row => row.name);
  }

  return {
    async announce(name) {
      own.name = name;
      await connection.open();
    },

    async deadAmong(names) {
      const { since, isFirst } = connection;
      if (since === undefined) return [];
      const isYoung = performance.now() - since < ALL_BACK_MS;
      if (isYoung && !isFirst) return [];
      const others = names.filter(name => name !== own.name);
      const suspects = await missingAmong(others);
      if (suspects.length === 0) return [];
      await delay(isYoung ? SECOND_LOOK_MS.young : SECOND_LOOK_MS.usual);
      return missingAmong(suspects);
    },
  };
}

/** Takes the lock of this process on a connection. */
export async function holdPresence(client: pg.ClientBase, name: string): Promise<void> {
  await client.query('select pg_advisory_lock_shared(hashtextextended($1, 0))', [name]);
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
