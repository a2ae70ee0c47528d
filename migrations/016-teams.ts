import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Access for teams: people of certain runs. */
export const teams: Migration = async db => {
  const statements = [
    // Tokens of people may have `runs`, too: null for all. Their lists of runs are by name.
    `create index runs_by_status_and_name on runs (status, run_id)`,
    `create index runs_by_ticket_and_name on runs (ticket, run_id) where ticket is not null`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
