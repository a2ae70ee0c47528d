import { sql } from 'kysely';
import type { Dialect } from '../engine.ts';

export const postgresDialect: Dialect = {
  engine: 'postgres',
  elements: json => sql`jsonb_array_elements_text(${json}::jsonb)`,
  numbered: (insert, column) => insert.returning(column),
  // PostgreSQL takes a bare parameter for text where nothing else says its type.
  integer: parameter => sql<number>`${parameter}::bigint`,
  serverNow: sql<number>`(extract(epoch from statement_timestamp()) * 1000)::bigint`,
};
