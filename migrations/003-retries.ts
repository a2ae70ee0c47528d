import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Requests that may be repeated, and answers that have not been received. */
export const retries: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const strict = sqlite ? 'strict' : '';

  const statements = [
    // What was answered under a key, to be answered again. fingerprint: of the request that the key was used for.
    `create table idempotency_keys (
      caller ${text} not null,
      idempotency_key ${text} not null,
      fingerprint ${text} not null,
      status ${int} not null,
      headers ${text} not null,
      body ${text} not null,
      created_at ${int} not null,
      primary key (caller, idempotency_key)
    ) ${strict}`,
    `create index idempotency_keys_by_age on idempotency_keys (created_at)`,

    // Questions that have ended without the agent having said that it knows.
    `alter table control_threads add column unread ${int} not null default 0`,
    `update control_threads set unread = (
       select count(*) from questions
       where questions.thread_id = control_threads.thread_id and acknowledged_at is null
         and state in ('answered', 'expired', 'cancelled'))`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
