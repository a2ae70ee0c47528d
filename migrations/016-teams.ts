import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Access for teams: people of certain runs, and rotation of tokens. */
export const teams: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';

  const statements = [
    // Tokens of people may have `runs`, too: null for all. Their lists of runs are by name.
    `create index runs_by_status_and_name on runs (status, run_id)`,
    `create index runs_by_ticket_and_name on runs (ticket, run_id) where ticket is not null`,

    // rotations: the number of the current secret, from 0. rotated_at: when it was made; null for the first one.
    // former_secrets: earlier ones that may still be valid (JSON), the newest first, each with its `number`, its `hash` as in
    // secret_hash, and `until` in epoch milliseconds; null without any.
    `alter table tokens add column rotations ${int} not null default 0`,
    `alter table tokens add column rotated_at ${int}`,
    `alter table tokens add column former_secrets ${text}`,
    // secret_number: of the secret that made the login, which ends with it.
    `alter table page_logins add column secret_number ${int} not null default 0`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
