import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Who may do what, and which trace a message belongs to. */
export const access: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const strict = sqlite ? 'strict' : '';

  const statements = [
    // secret_hash: SHA-256 of the secret, which is stored nowhere. actor: who the token's writes are by; null for agents,
    // which are the agents of runs that these patterns name. Rows are kept when they are revoked: where a token has ever
    // been made, nobody gets in without one.
    `create table tokens (
      token_id ${text} primary key,
      secret_hash ${text} not null,
      role ${text} not null check (role in ('agent', 'viewer', 'operator', 'admin')),
      actor ${text},
      runs ${text},
      agents ${text},
      created_at ${int} not null,
      created_by ${text} not null,
      expires_at ${int},
      revoked_at ${int},
      check ((role = 'agent') = (actor is null)),
      check ((role = 'agent') = (runs is not null and agents is not null))
    ) ${strict}`,
    `create index tokens_by_age on tokens (created_at, token_id)`,

    // Of the request that a message comes from (W3C Trace Context).
    `alter table outbox add column traceparent ${text}`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
