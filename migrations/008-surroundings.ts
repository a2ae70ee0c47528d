import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** What a restart has to know of the process before it, and what settings of a server have broken. */
export const surroundings: Migration = async (db, engine) => {
  // Where transactions began as `repeatable read`, two messages of a lane could each take the other for its head. Then
  // the lane stood still. The oldest of such a lane becomes its head.
  await sql
    .raw(
      `update outbox set claimable_at = available_at where position in (
        select min(position) from outbox where lane is not null group by lane
        having count(claimable_at) = 0 and count(parked) = 0 and sum(case status when 'dead' then 1 else 0 end) = 0
      )`,
    )
    .execute(db);

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
