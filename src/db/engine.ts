import type { Compilable, Expression, SqlBool } from 'kysely';

/**
 * The database engines. Code that chooses between them uses a record over this type, so that tsc finds every choice.
 */
export type Engine = 'sqlite' | 'postgres';

/** The SQL that differs between the engines. */
export interface Dialect {
  readonly engine: Engine;
  /** The elements of a JSON array, as a table with the column `value`. */
  elements(json: Expression<unknown>): Expression<unknown>;
  /** The objects of a JSON array, as a table with these members as its columns. */
  records(json: Expression<unknown>, columns: Record<string, 'integer' | 'text'>): Expression<unknown>;
  /**
   * Whether a column is among the results of a subquery of one column. PostgreSQL reads the results first, and looks
   * them up. It may plan an `in` as a join that reads the whole table. It keeps that plan when the table has grown.
   */
  among(column: Expression<unknown>, results: Expression<unknown>): Expression<SqlBool>;
  /** A member of a JSON object: a text as it is, anything else as JSON; null if there is none. */
  member(json: Expression<unknown>, name: string): Expression<string | null>;
  /** Adds RETURNING for the generated key (PostgreSQL only; better-sqlite3 reports the key itself). */
  returningKey<T extends Compilable & { returning(column: C): Compilable }, C extends string>(
    insert: T,
    column: C,
  ): Compilable;
  /** A bare parameter, typed as an integer. */
  asInteger(parameter: Expression<unknown>): Expression<number>;
  /**
   * The sequence up to which no transaction of others can still add an event; undefined on an engine with one writer. A
   * later statement sees all events up to it; the statement that computes it may not.
   */
  readonly horizon: Expression<number> | undefined;
  /** The server's clock in epoch milliseconds; undefined on an engine without a server. */
  readonly serverNow: Expression<number> | undefined;
}
