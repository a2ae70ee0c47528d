import { generateKeyPairSync } from 'node:crypto';
import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** What the page for people needs: logins, and keys for its push messages. */
export const page: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const strict = sqlite ? 'strict' : '';
  const {
    x = '',
    y = '',
    d,
  } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey.export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.of(4), ...[x, y].map(part => Buffer.from(part, 'base64url'))]);
  const statements = [
    // A login of a browser, or a link that becomes one. Both stand for their token and end with it at the latest.
    // secret_hash: SHA-256, in hex, of the secret that the browser or the link has. kind: `link`, deleted by its one use, or
    // `session`.
    `create table page_logins (
      secret_hash ${text} primary key,
      kind ${text} not null check (kind in ('link', 'session')),
      token_id ${text} not null references tokens,
      created_at ${int} not null,
      expires_at ${int} not null
    ) ${strict}`,
    `create index page_logins_by_expiry on page_logins (expires_at)`,

    // The keys by which push services know this service (VAPID), in base64url: one row.
    `create table push_keys (public_key ${text} not null, private_key ${text} not null) ${strict}`,
    `insert into push_keys values ('${point.toString('base64url')}', '${d}')`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
