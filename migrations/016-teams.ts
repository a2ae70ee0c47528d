import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Access for teams: people of certain runs, rotation of tokens, and the audit trail. */
export const teams: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const counter = sqlite ? 'integer primary key' : 'bigint generated always as identity primary key';
  const strict = sqlite ? 'strict' : '';

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

    // Requests that changed something, and those that tokens were refused. operation: its id in the document. status, code: of
    // the answer; code is null unless it was refused. count: equal requests in this entry. actor: null if nobody was named.
    // address: where it came from. request_id: as in the log; null for several requests. resources: ids of what it was
    // about (JSON), besides the run.
    `create table audit (
      number ${counter},
      at ${int} not null,
      operation ${text} not null,
      status ${int} not null,
      code ${text},
      count ${int} not null,
      token_id ${text},
      actor ${text},
      address ${text} not null,
      request_id ${text},
      run_id ${text},
      resources ${text} not null
    ) ${strict}`,
    `create index audit_by_token on audit (token_id, number) where token_id is not null`,
    `create index audit_by_run on audit (run_id, number) where run_id is not null`,
    `create index audit_by_operation on audit (operation, number)`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
