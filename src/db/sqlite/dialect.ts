import { sql } from 'kysely';
import type { Dialect } from '../engine.ts';

export const sqliteDialect: Dialect = {
  engine: 'sqlite',
  elements: json => sql`json_each(${json})`,
  records: (json, columns) => {
    const members = Object.keys(columns).map(name => sql`value ->> ${sql.lit(name)} as ${sql.id(name)}`);
    return sql`(select ${sql.join(members)} from json_each(${json}))`;
  },
  among: (column, results) => sql`${column} in ${results}`,
  member: (json, name) => sql`(${json} ->> ${sql.lit(name)})`,
  // better-sqlite3 reports lastInsertRowid, which is faster than RETURNING.
  returningKey: insert => insert,
  asInteger: parameter => sql<number>`${parameter}`,
  horizon: undefined,
  serverNow: undefined,
};
