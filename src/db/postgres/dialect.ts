import { sql } from 'kysely';
import type { Dialect } from '../engine.ts';
import { HORIZON } from './horizon.ts';

export const postgresDialect: Dialect = {
  engine: 'postgres',
  elements: json => sql`jsonb_array_elements_text(${json}::jsonb)`,
  records: (json, columns) => {
    const types = { integer: sql`bigint`, text: sql`text` };
    const members = Object.entries(columns).map(([name, type]) => sql`${sql.id(name)} ${types[type]}`);
    return sql`(select * from jsonb_to_recordset(${json}::jsonb) as record (${sql.join(members)}))`;
  },
  among: (column, results) => sql`${column} = any(array${results})`,
  member: (json, name) => sql`(${json}::json ->> ${sql.lit(name)})`,
  returningKey: (insert, column) => insert.returning(column),
  // PostgreSQL assumes text for a bare parameter whose type the context does not determine.
  asInteger: parameter => sql<number>`${parameter}::bigint`,
  horizon: sql<number>`${sql.raw(HORIZON)}`,
  serverNow: sql<number>`(extract(epoch from statement_timestamp()) * 1000)::bigint`,
};
