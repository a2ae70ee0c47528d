import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/**
 * PostgreSQL vacuums the deliveries after some thousand have ended, however many are kept. Until then each claim reads
 * past the entries of those that have ended. By default that is a fifth of the table.
 */
export const vacuum: Migration = async (db, engine) => {
  if (engine === 'sqlite') return;
  const settings = {
    autovacuum_vacuum_threshold: 10_000,
    autovacuum_vacuum_scale_factor: 0.01,
    // Else it may leave the indexes as they are while few pages of the table have dead rows.
    vacuum_index_cleanup: 'on',
  };
  const list = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  await sql.raw(`alter table deliveries set (${list.join(', ')})`).execute(db);
};
