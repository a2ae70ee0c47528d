import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** What a restart has to know of the process before it. */
export const surroundings: Migration = async (db, engine) => {
  // On PostgreSQL the server's clock measures leases.
  if (engine === 'postgres') return;

  // One row. at: how late it was, to the second, on the clock that leases are measured with, when something was last
  // written; epoch milliseconds. A start whose wall clock is behind it goes on from there.
  await sql
    .raw(
      `create table lease_clock (
        id integer primary key check (id = 1),
        at integer not null
      ) strict`,
    )
    .execute(db);
};
