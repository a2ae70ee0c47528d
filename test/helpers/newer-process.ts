import { sql } from 'kysely';
import { migrations } from '../../migrations/index.ts';

/*
 * The service of a version to come: it has one migration more, which NEWER_MIGRATION names. It waits for whoever holds the
 * advisory lock 999.
 */

migrations[String(process.env.NEWER_MIGRATION)] = async db => {
  await sql`select pg_advisory_xact_lock(999)`.execute(db);
  await sql`alter table threads add column newer text`.execute(db);
};
await import('../../src/main.ts');
