import type { Expression, Kysely, Transaction } from 'kysely';
import type { Engine } from './engine.ts';
import type { WriteOptions, WriteTimings } from './group-commit.ts';
import type { Presence } from './presence.ts';
import type { Schema } from './schema.ts';
import type { ReadTimings, Statement } from './statement.ts';

/** What a reading repository method takes: the read handle, or a transaction when it must see that transaction's own writes. */
export interface Reader {
  /** For queries whose shape depends on what is asked for; those that are always the same are statements. */
  readonly query: Kysely<Schema>;
  all<V, R>(statement: Statement<V, R>, values: V): Promise<R[]>;
  first<V, R>(statement: Statement<V, R>, values: V): Promise<R | undefined>;
}

/** What a writing repository method takes. Only `Database.write` makes one. */
export interface Tx extends Reader {
  readonly query: Transaction<Schema>;
  /** As in a statement, for `query`. */
  readonly leaseNow: Expression<number>;
  /** Which trace the work belongs to (W3C Trace Context): stored with the messages that it publishes. Null if to none. */
  readonly traceparent: string | null;
  /** Answers how many rows the statement has changed. */
  run<V>(statement: Statement<V, unknown>, values: V): Promise<number>;
  /** Runs an insert of one row and answers the number that the database gives to the row. */
  insert<V>(statement: Statement<V, unknown>, values: V): Promise<number>;
  /** Runs a statement whose result nobody waits for, before all that come after it. If it fails, so does the transaction. */
  send<V>(statement: Statement<V, unknown>, values: V): void;
  /**
   * Runs `hook` at the end of the transaction, if the work has succeeded: in ascending order with what others that share
   * the transaction have put off.
   */
  beforeCommit(order: number, hook: (tx: Tx) => void): void;
  /** Adds up under `key` what works that share the transaction count; `store` gets the sum at the end, unless it is 0. */
  count(key: string, by: number, store: (tx: Tx, sum: number) => void): void;
  /** Runs `hook` once the transaction is durable, and never if it is not. Hooks must not throw. */
  afterCommit(hook: () => void): void;
}

/**
 * One database behind two doors. `read` never waits for a writer. `write` is the only way to change anything.
 * `snapshot` reads several times and sees one moment.
 *
 * Writes are serialised: by SQLite's single writer, on PostgreSQL by an advisory lock that every write takes first.
 * So a write may read, decide and then write without meeting another one half-way (unless both say what they touch, and
 * that has nothing in common), locks are never taken in two orders, and event sequences become visible in the order in
 * which they were given out.
 */
export interface Database {
  readonly engine: Engine;
  /** Whether other processes may use it at the same time. */
  readonly shared: boolean;
  readonly read: Reader;
  snapshot<T>(work: (reader: Reader) => Promise<T>): Promise<T>;
  /**
   * Works that wait at the same time share a transaction (see group-commit.ts). One may be run twice, so all that it does
   * is done through its `tx`, unless it is `alone`. Each keeps its own `traceparent`.
   * @throws Refusal SERVICE_UNAVAILABLE if it is to be done only if there is room, and there is none
   */
  write<T>(work: (tx: Tx) => Promise<T>, options?: WriteOptions & { traceparent?: string | null }): Promise<T>;
  /** Commits a write that leaves nothing behind, before all others that wait. Rejects if nothing can be written just now. */
  probe(): Promise<void>;
  /** A time of the wall clock (epoch milliseconds) on the clock that leases are measured with. */
  leaseTime(at: number): number;
  /** Which processes that share this database are alive. */
  readonly presence: Presence;
  /** Tells the other processes, soon and without waiting, that something has been committed here. */
  announce(): void;
  /** Calls `heard` when another process has committed something; not a promise, only a hint that saves polling. */
  onOthersWrites(heard: () => void): void;
  /** Applies the migrations that are missing and answers their names. @throws StartError if the schema is newer than the code. */
  migrate(): Promise<string[]>;
  /** Names of the migrations that are known here and not applied there. */
  missingMigrations(): Promise<string[]>;
  close(): Promise<void>;
}

/** A database that is only looked at, beside the processes that use it. */
export interface ReadOnlyDatabase extends Pick<Database, 'engine' | 'read' | 'missingMigrations' | 'close'> {
  /** Names of the migrations that are applied there and not known here: a newer version made them. */
  unknownMigrations(): Promise<string[]>;
}

/** Told how long the database takes, as it happens. */
export type Timings = WriteTimings & ReadTimings;

/** For who does not want to know. */
export const untimed: Timings = { waited() {}, committed() {}, read() {} };
