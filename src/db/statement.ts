import { type Compilable, type Expression, type Kysely, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { Dialect } from './engine.ts';
import type { Schema } from './schema.ts';

/** Builds the query of a statement. `V` maps the names of its parameters to their types. */
export interface StatementBuilder<V> {
  readonly query: Kysely<Schema>;
  /** A parameter. */
  value<K extends keyof V & string>(name: K): Expression<V[K]>;
  /** Several parameters under their names, as `values()` and `set()` take them. */
  values<K extends keyof V & string>(names: readonly K[]): { [N in K]: Expression<V[N]> };
  /** See {@link Dialect.returningKey}. */
  returningKey<T extends { returning(column: C): Compilable }, C extends string>(insert: T, column: C): Compilable;
  /** See {@link Dialect.member}. */
  member(json: Expression<unknown>, name: string): Expression<string | null>;
  /** The elements of a JSON array, as a table with the column `value`. */
  elements(name: keyof V & string): Expression<unknown>;
  /** The same of an array that a row has. */
  elementsOf(json: Expression<unknown>): Expression<unknown>;
  /** The objects of a JSON array, as a table with these members as its columns. */
  records<R>(name: keyof V & string, columns: { [K in keyof R]: 'integer' | 'text' }): RawBuilder<R>;
  /** See {@link Dialect.among}. `results` stands in brackets. */
  among(column: string, results: Expression<unknown>): Expression<SqlBool>;
  /** The integers of a JSON array, as a subquery. */
  integerElements(name: keyof V & string): Expression<number>;
  /** The texts of a JSON array, as a subquery. */
  textElements(name: keyof V & string): Expression<string>;
  /** See {@link Dialect.horizon}. */
  readonly horizon: Expression<number> | undefined;
  /** Epoch milliseconds on the clock that measures leases: the service's on SQLite, the server's on PostgreSQL. */
  readonly leaseNow: Expression<number>;
}

/**
 * A query whose text never changes; `R` is its row. It is compiled once per database, at its first use. Building and
 * compiling cost several times as much as running it on SQLite. The cache key is the object itself, so a statement must
 * be a module constant.
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

/** The SQL text of a statement for one engine. */
export interface Compiled {
  /** The name under which a server keeps it prepared. */
  name: string;
  text: string;
  /** Whether it is a SELECT, which changes nothing. */
  reads: boolean;
  /** Returns the parameters in the order of the text. */
  bind(values: object): unknown[];
}

/** Runs statements on one connection. */
export interface Executor {
  compile(statement: Statement<never, unknown>): Compiled;
  all(compiled: Compiled, values: object): Promise<unknown[]>;
  /** Runs a statement without result rows; resolves with the number of changed rows. */
  run(compiled: Compiled, values: object): Promise<number>;
  /** Inserts one row; resolves with its generated key. */
  insert(compiled: Compiled, values: object): Promise<number>;
  /** As `run`, but need not be awaited. Returns undefined if the statement ran synchronously. */
  send(compiled: Compiled, values: object): Promise<unknown> | undefined;
}

/** Stands for a named parameter until `bind` replaces it. */
class Placeholder {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

export interface CompilerOptions {
  query: Kysely<Schema>;
  dialect: Dialect;
  /** Read at each run, in epoch milliseconds; undefined for the server's clock. */
  leaseClock: (() => number) | undefined;
}

const LEASE_NOW = new Placeholder('leaseNow');

/** Makes a function that compiles each statement once. */
export function statementCompiler({ query, dialect, leaseClock }: CompilerOptions) {
  const compiled = new Map<Statement<never, unknown>, Compiled>();
  const value = (name: string) => sql<never>`${new Placeholder(name)}`;
  const elements = (name: string) => dialect.elements(value(name));
  const builder = {
    query,
    value,
    values: (names: readonly string[]) => Object.fromEntries(names.map(name => [name, value(name)])),
    returningKey: dialect.returningKey,
    member: dialect.member,
    elements,
    elementsOf: dialect.elements,
    records: (name: string, columns: Record<string, 'integer' | 'text'>) => dialect.records(value(name), columns),
    among: (column: string, results: Expression<unknown>) => dialect.among(sql.ref(column), results),
    integerElements: (name: string) => sql`(select cast(value as bigint) from ${elements(name)})`,
    textElements: (name: string) => sql`(select value from ${elements(name)})`,
    horizon: dialect.horizon,
    leaseNow: leaseClock ? dialect.asInteger(sql`${LEASE_NOW}`) : dialect.serverNow,
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

/** Receives the durations of reads as they end. */
export interface ReadTimings {
  read(milliseconds: number): void;
}

/** The methods `all` and `first` of a reader over an executor; each call is timed. */
export function timedReads({ compile, all }: Executor, { read }: ReadTimings) {
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
