import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Counting messages reads an index and no message, however large they are. */
export const delivery: Migration = async (db, engine) => {
  // What the counts need beside the status; on PostgreSQL it is carried along and not compared.
  const counted = 'topic, created_at, available_at';
  const statements = [
    `drop index outbox_unsent`,
    engine === 'sqlite'
      ? `create index outbox_unsent on outbox (status, position, ${counted}) where status <> 'sent'`
      : `create index outbox_unsent on outbox (status, position) include (${counted}) where status <> 'sent'`,
    // Dead messages that hold their lanes back.
    `create index outbox_blocking on outbox (status, lane) where status = 'dead' and lane is not null`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
