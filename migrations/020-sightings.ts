import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/**
 * Each signal stores when its agent was seen. PostgreSQL keeps an updated row on its page, and writes no index, only if no
 * indexed column changes and the page has room. So the index of working agents has the hour, and pages keep some room.
 *
 * A process of the version before must not go on beside it. PostgreSQL refuses a prepared `select *` once the table has
 * a new column.
 */
export const sightings: Migration = async (db, engine) => {
  const hour = 'generated always as (last_seen_at / 3600000)';
  const statements = [
    'drop index control_threads_working',
    `alter table control_threads add column last_seen_hour ${engine === 'sqlite' ? `integer ${hour} virtual` : `bigint ${hour} stored`}`,
    `create index control_threads_working on control_threads (last_seen_hour) where status = 'working'`,
    ...(engine === 'sqlite' ? [] : ['alter table control_threads set (fillfactor = 70)']),
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
