import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Idempotency keys of requests, and counts of unread answers. */
export const retries: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const strict = sqlite ? 'strict' : '';

  const statements = [
    // The response to a request with this key, replayed on a retry. fingerprint: a hash of that request.
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

    // unread: the number of ended questions that the agent has not acknowledged.
    `alter table control_threads add column unread ${int} not null default 0`,
    `update control_threads set unread = (
       select count(*) from questions
       where questions.thread_id = control_threads.thread_id and acknowledged_at is null
         and state in ('answered', 'expired', 'cancelled'))`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
