import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** What names a thread is found by its run when that is erased, also if the thread was opened after it. */
export const subjects: Migration = async (db, engine) => {
  const text = engine === 'sqlite' ? 'text' : 'text collate "C"';
  const statements = [
    // thread_id: the thread that the payload or the answer names, if it names no run; null for all others, and once erased.
    `alter table messages add column thread_id ${text}`,
    `create index messages_by_thread on messages (thread_id) where thread_id is not null`,
    `alter table idempotency_keys add column thread_id ${text}`,
    `create index idempotency_keys_by_thread on idempotency_keys (thread_id) where thread_id is not null`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
