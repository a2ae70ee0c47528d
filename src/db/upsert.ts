import { type Insertable, sql } from 'kysely';
import type { Row, Schema } from './schema.ts';
import { type StatementBuilder, statement } from './statement.ts';

/** The columns of a table and how JSON holds them. */
export type ColumnTypes<T extends keyof Schema> = Record<keyof Insertable<Schema[T]> & string, 'integer' | 'text'>;

/**
 * Makes the statement that stores many rows at once: it inserts those whose key is new, and replaces the others. Its
 * parameter `rows` is their JSON.
 */
export const upsert = <T extends keyof Schema>(table: T, key: (keyof Row<T> & string)[], columns: ColumnTypes<T>) =>
  statement(({ query, records }: StatementBuilder<{ rows: string }>) => {
    const names = Object.keys(columns);
    const changing = names.filter(name => !key.includes(name as keyof Row<T> & string));
    const list = (of: readonly string[]) => sql.join(of.map(name => sql.id(name)));
    const changes = sql.join(changing.map(name => sql`${sql.id(name)} = ${sql.id('excluded', name)}`));
    // Without a condition, SQLite would take "on conflict" for the condition of a join.
    const text = sql`insert into ${sql.table(table)} (${list(names)})
      select ${list(names)} from ${records('rows', columns)} as one where true
      on conflict (${list(key)}) do update set ${changes}`;
    return { compile: () => text.compile(query) };
  });
