import { type Compilable, type Expression, type Kysely, sql } from 'kysely';
import type { Dialect } from './engine.ts';
import type { Schema } from './schema.ts';

/** Builds a statement; `V` maps the names of its parameters to their types. */
export interface StatementBuilder<V> {
  readonly query: Kysely<Schema>;
  value<K extends keyof V & string>(name: K): Expression<V[K]>;
  /** Several parameters under their names, as `values()` and `set()` take them. */
  values<K extends keyof V & string>(names: readonly K[]): { [N in K]: Expression<V[N]> };
  /** See {@link Dialect.numbered}. */
  numbered<T extends { returning(column: C): Compilable }, C extends string>(insert: T, column: C): Compilable;
  /** The elements of a JSON array, as a table with the column `value`. */
  elements(name: keyof V & string): Expression<unknown>;
  /** The integers of a JSON array, for `in`. */
  listed(name: keyof V & string): Expression<number>;
  /** Epoch milliseconds on the clock that leases are measured with: the service's on SQLite, the server's on PostgreSQL. */
  readonly leaseNow: Expression<number>;
}

/**
 * A query whose text never changes. It is compiled once per database, at its first use: building and compiling cost
 * several times what SQLite needs to run it. It is cached by identity, so it must be a constant of its module.
 */
export class Statement<V, R> {
  readonly build: (builder: StatementBuilder<V>) => Compilable<R>;
  constructor(build: (builder: StatementBuilder<V>) => Compilable<R>) {
    this.build = build;
  }
}

/** Makes a {@link Statement}. */
export function statement<V, R>(build: (builder: StatementBuilder<V>) => Compilable<R>): Statement<V, R> {
  return new Statement(build);
}

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
  dialect: Dialect;
  /** Read at each run; the server's clock if it is left out. */
  leaseClock: (() => number) | undefined;
}

const LEASE_NOW = new Placeholder('leaseNow');

/** Compiles each statement once. */
export function statementCompiler({ query, dialect, leaseClock }: CompilerOptions) {
  const compiled = new Map<Statement<never, unknown>, Compiled>();
  const value = (name: string) => sql<never>`${new Placeholder(name)}`;
  const elements = (name: string) => dialect.elements(value(name));
  const builder = {
    query,
    value,
    values: (names: readonly string[]) => Object.fromEntries(names.map(name => [name, value(name)])),
    numbered: dialect.numbered,
    elements,
    listed: (name: string) => sql`(select cast(value as bigint) from ${elements(name)})`,
    leaseNow: leaseClock ? dialect.integer(sql`${LEASE_NOW}`) : dialect.serverNow,
  } as unknown as StatementBuilder<never>;

  function compile(statement: Statement<never, unknown>): Compiled {
    const { sql: text, parameters, query } = statement.build(builder).compile();
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
