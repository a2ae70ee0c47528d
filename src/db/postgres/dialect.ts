import { sql } from 'kysely';
import type { Dialect } from '../engine.ts';

export const postgresDialect: Dialect = {
  engine: 'postgres',
  elements: json => sql`jsonb_array_elements_text(${json}::jsonb)`,
  member: (json, name) => sql`(${json}::json ->> ${sql.lit(name)})`,
  returningKey: (insert, column) => insert.returning(column),
  // PostgreSQL assumes text for a bare parameter whose type the context does not determine.
  asInteger: parameter => sql<number>`${parameter}::bigint`,
  serverNow: sql<number>`(extract(epoch from statement_timestamp()) * 1000)::bigint`,
};
