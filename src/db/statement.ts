import { type Compilable, type Expression, type Kysely, sql } from 'kysely';
import type { Engine } from './database.ts';
import type { Schema } from './schema.ts';

/** What a statement is made of; `V` names the values that are given anew each time it runs, by their types. */
export interface Parts<V> {
  readonly query: Kysely<Schema>;
  readonly engine: Engine;
  value<K extends keyof V & string>(name: K): Expression<V[K]>;
  /** Several values under their names, as `values()` and `set()` take them. */
  values<K extends keyof V & string>(names: readonly K[]): { [N in K]: Expression<V[N]> };
  /** Makes an insert one that says the number of its row: SQLite does so by itself, and faster. */
  numbered<T extends { returning(column: C): Compilable }, C extends string>(insert: T, column: C): Compilable;
  /** The elements of a JSON array, as a table with the column `value`. */
  elements(name: keyof V & string): Expression<unknown>;
  /** The integers of a JSON array, for `in`. */
  listed(name: keyof V & string): Expression<number>;
  /** Epoch milliseconds on the clock that leases are measured with: the service's on SQLite, the server's on PostgreSQL. */
  readonly leaseNow: Expression<number>;
}

/**
 * A query whose text is always the same. It is built by Kysely and compiled once per database, at its first use, and then
 * run with other values: building and compiling cost several times what SQLite needs to run it. Known by its identity, so
 * it has to be a constant of its module.
 */
export type Statement<V, R> = (parts: Parts<V>) => Compilable<R>;

/** A compiled statement. */
export interface Compiled {
  /** Under which a server keeps it prepared. */
  name: string;
  text: string;
  /** It changes nothing. */
  reads: boolean;
  /** Its parameters, in the order of the text. */
  bind(values: object): unknown[];
}

/** Runs statements on one connection. */
export interface Executor {
  compile(statement: Statement<never, unknown>): Compiled;
  all(compiled: Compiled, values: object): Promise<unknown[]>;
  /** For a statement that returns nothing: how many rows it has changed. */
  run(compiled: Compiled, values: object): Promise<number>;
  /** For an insert of one row: the number that the database gives to it. */
  insert(compiled: Compiled, values: object): Promise<number>;
  /** As `run`; undefined if it has been done. The promise may be left alone. */
  send(compiled: Compiled, values: object): Promise<unknown> | undefined;
}

/** Where a value will stand. */
class Placeholder {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

export interface CompilerOptions {
  query: Kysely<Schema>;
  engine: Engine;
  /** Read at each run; the server's clock if it is left out. */
  leaseClock: (() => number) | undefined;
}

const LEASE_NOW = new Placeholder('leaseNow');
/** The server's clock, for statements and queries alike. */
export const SERVER_NOW = sql<number>`(extract(epoch from statement_timestamp()) * 1000)::bigint`;

/** Compiles each statement once. */
export function statementCompiler({ query, engine, leaseClock }: CompilerOptions) {
  const compiled = new Map<Statement<never, unknown>, Compiled>();
  const value = (name: string) => sql<never>`${new Placeholder(name)}`;
  const elements = (name: string) =>
    engine === 'sqlite' ? sql`json_each(${value(name)})` : sql`jsonb_array_elements_text(${value(name)}::jsonb)`;
  const parts = {
    query,
    engine,
    value,
    values: (names: readonly string[]) => Object.fromEntries(names.map(name => [name, value(name)])),
    numbered: (insert: { returning(column: string): Compilable } & Compilable, column: string) =>
      engine === 'sqlite' ? insert : insert.returning(column),
    elements,
    listed: (name: string) => sql`(select cast(value as bigint) from ${elements(name)})`,
    leaseNow: leaseClock ? leaseNowOf(engine) : SERVER_NOW,
  } as unknown as Parts<never>;

  function compile(statement: Statement<never, unknown>): Compiled {
    const { sql: text, parameters, query } = statement(parts).compile();
    const bind = (values: object) =>
      parameters.map(parameter => {
        if (!(parameter instanceof Placeholder)) return parameter;
        return parameter === LEASE_NOW ? leaseClock?.() : (values as Record<string, unknown>)[parameter.name];
      });
    return { name: `s${compiled.size}`, text, bind, reads: query.kind === 'SelectQueryNode' };
  }

  return (statement: Statement<never, unknown>): Compiled => {
    const known = compiled.get(statement);
    if (known) return known;
    const made = compile(statement);
    compiled.set(statement, made);
    return made;
  };
}

function leaseNowOf(engine: Engine): Expression<number> {
  // PostgreSQL takes a bare parameter for text where nothing else says what it is.
  return engine === 'sqlite' ? sql<number>`${LEASE_NOW}` : sql<number>`${LEASE_NOW}::bigint`;
}

/** Told how long reads take, as they end. */
export interface ReadTimings {
  /** Milliseconds. */
  read(took: number): void;
}

/** The reading methods over an executor. */
export function reading({ compile, all }: Executor, { read }: ReadTimings) {
  const rows = async <V, R>(statement: Statement<V, R>, values: V): Promise<R[]> => {
    const began = performance.now();
    const found = await all(compile(statement as Statement<never, unknown>), values as object);
    read(performance.now() - began);
    return found as R[];
  };
  return {
    all: rows,
    first: async <V, R>(statement: Statement<V, R>, values: V) => (await rows(statement, values))[0],
  };
}
