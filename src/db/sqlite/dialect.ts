import { sql } from 'kysely';
import type { Dialect } from '../engine.ts';

export const sqliteDialect: Dialect = {
  engine: 'sqlite',
  elements: json => sql`json_each(${json})`,
  // better-sqlite3 answers lastInsertRowid, which is faster than RETURNING.
  numbered: insert => insert,
  integer: parameter => sql<number>`${parameter}`,
  serverNow: undefined,
};
