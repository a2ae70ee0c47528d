import type { Compilable, Expression } from 'kysely';

/** The database engines. Every choice between them is a record over this type, so a third one cannot be forgotten. */
export type Engine = 'sqlite' | 'postgres';

/** The SQL that differs between the engines. */
export interface Dialect {
  readonly engine: Engine;
  /** The elements of a JSON array, as a table with the column `value`. */
  elements(json: Expression<unknown>): Expression<unknown>;
  /** Adds RETURNING for the generated key where the driver does not report it. */
  numbered<T extends Compilable & { returning(column: C): Compilable }, C extends string>(
    insert: T,
    column: C,
  ): Compilable;
  /** A bare parameter as an integer. */
  integer(parameter: Expression<unknown>): Expression<number>;
  /** The server's clock in epoch milliseconds; undefined where the service's own clock is the only one. */
  readonly serverNow: Expression<number> | undefined;
}
