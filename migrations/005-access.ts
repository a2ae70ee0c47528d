import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Access tokens, and the trace of each message. */
export const access: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const strict = sqlite ? 'strict' : '';

  const statements = [
    // secret_hash: SHA-256 of the secret; the secret itself is not stored. actor: the author of the token's writes;
    // null for role agent, whose token covers the agents that the patterns in runs and agents match. Revoked rows are
    // kept: once any token has been created, every request needs one.
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

    // traceparent (W3C Trace Context) of the request that published the message.
    `alter table outbox add column traceparent ${text}`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
