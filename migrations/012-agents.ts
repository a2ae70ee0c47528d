import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** What agents need: where answers were given. */
export const agents: Migration = async (db, engine) => {
  const text = engine === 'sqlite' ? 'text' : 'text collate "C"';
  const statements = [
    // answered_in: where the answer was given, such as `cli`; null without an answer. Those from before, which have none, came over the API.
    `alter table questions add column answered_in ${text}`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
