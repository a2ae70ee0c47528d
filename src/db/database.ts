import type { Expression, Kysely, Transaction } from 'kysely';
import type { Engine } from './engine.ts';
import type { Overtaken } from './errors.ts';
import type { WriteOptions, WriteTimings } from './group-commit.ts';
import type { Presence } from './presence.ts';
import type { Schema } from './schema.ts';
import type { ReadTimings, Statement } from './statement.ts';

/** The handle for reads. A repository method takes `Database.read`, or a `Tx` to see that transaction's own writes. */
export interface Reader {
  /** For queries whose text depends on the request; a query with a fixed text is a {@link Statement}. */
  readonly query: Kysely<Schema>;
  /** Resolves with all rows. */
  all<V, R>(statement: Statement<V, R>, values: V): Promise<R[]>;
  /** Resolves with the first row. */
  first<V, R>(statement: Statement<V, R>, values: V): Promise<R | undefined>;
}

/** What caused a write. */
type WriteOrigin = Pick<Tx, 'traceparent' | 'tokenId'>;

/** The handle for writes inside a transaction. Only `Database.write` makes one, for one work. */
export interface Tx extends Reader {
  readonly query: Transaction<Schema>;
  /** Epoch milliseconds on the clock that measures leases, for `query`. Statements have their own `leaseNow`. */
  readonly leaseNow: Expression<number>;
  /** The `traceparent` (W3C Trace Context) that the work's messages are stored with; null without a trace. */
  readonly traceparent: string | null;
  /** The token whose request caused the work; null without one. Events and messages are stored with it. */
  readonly tokenId: string | null;
  /** Runs a statement; resolves with the number of changed rows. */
  run<V>(statement: Statement<V, unknown>, values: V): Promise<number>;
  /** Inserts one row; resolves with its generated key. */
  insert<V>(statement: Statement<V, unknown>, values: V): Promise<number>;
  /** Sends a statement without awaiting it; it runs before all later ones. If it fails, the transaction fails. */
  send<V>(statement: Statement<V, unknown>, values: V): void;
  /** Whether the work has changed anything so far. */
  readonly hasWritten: boolean;
  /** Must precede each insert into the log: until the transaction ends, readers of the log stop before its events. */
  announceEvents(): void;
  /**
   * Defers `hook` to the end of the transaction; it runs only if the work succeeds. The deferred hooks of all works in
   * the transaction run stage by stage, and those of a stage in ascending `place`.
   */
  beforeCommit(stage: number, place: number, hook: (tx: Tx) => void): void;
  /** Adds `by` to the transaction's sum under `key`. At its end, `store` gets the sum of all works, unless it is 0. */
  count(key: string, by: number, store: (tx: Tx, sum: number) => void): void;
  /** Runs `hook` once the transaction is durable, before the caller is answered. Hooks must not throw. */
  afterCommit(hook: () => void): void;
}

/**
 * A database, for all engines. `read` never waits for a writer; `write` is the only way to change data.
 *
 * Transactions that touch the same thing follow one another. SQLite has a single writer; on PostgreSQL each takes
 * advisory locks first. So a work may read, decide and then write without a race, as far as it `touches` that.
 * Deadlocks cannot occur. Sequences of events may become visible in another order than that of their assignment: see
 * `events.latest`.
 */
export interface Database {
  readonly engine: Engine;
  /** Whether several Forumbus processes may use the database at the same time. */
  readonly shared: boolean;
  readonly read: Reader;
  /** Runs several reads that all see the same moment. */
  snapshot<T>(work: (reader: Reader) => Promise<T>): Promise<T>;
  /**
   * Runs `work` in a transaction, possibly shared with other works (see group-commit.ts). Resolves once it is durable,
   * or committed if it needs no flush.
   * A work may run twice, so it must act only through its `tx`, unless it is `alone`.
   * @param options `traceparent` and `tokenId` become those of the work's `tx`
   * @throws Refusal SERVICE_UNAVAILABLE if the work is sheddable and too many works wait
   * @throws Error inside another write, which would wait for itself
   */
  write<T>(work: (tx: Tx) => Promise<T>, options?: WriteOptions & Partial<WriteOrigin>): Promise<T>;
  /** Commits a write that leaves no trace, before all waiting works. Rejects if the database cannot be written now. */
  probe(): Promise<void>;
  /** A time of the wall clock (epoch milliseconds) on the clock that leases are measured with. */
  leaseTime(at: number): number;
  /** Counts the processes of services, which have registered. On SQLite the lock of the file keeps them out. */
  others(): Promise<number>;
  /** Tells which of the processes on this database are alive. */
  readonly presence: Presence;
  /** Notifies the other processes of a commit, soon and without waiting. */
  announceCommit(): void;
  /** Calls `listener` when another process announces a commit. A hint may get lost, so polling remains necessary. */
  onRemoteCommit(listener: () => void): void;
  /**
   * Calls `listener` when a newer version has migrated the database while this process was cut off from it. From then on
   * every read and write is refused: the process has to end.
   */
  onOvertaken(listener: (error: Overtaken) => void): void;
  /**
   * Applies the missing migrations; resolves with their names.
   * @throws StartError if the schema is newer than the code, or other processes would be left behind
   */
  migrate(): Promise<string[]>;
  /** Names of the migrations that the code has and the database lacks. */
  missingMigrations(): Promise<string[]>;
  /** Names of applied migrations that the code cannot work with: a newer version applied them. */
  unknownMigrations(): Promise<string[]>;
  close(): Promise<void>;
}

/** A database opened for reads only, alongside the processes that use it. */
export type ReadOnlyDatabase = Pick<Database, 'engine' | 'read' | 'missingMigrations' | 'unknownMigrations' | 'close'>;

/** Receives the durations of reads and writes as they happen. */
export type Timings = WriteTimings & ReadTimings;

/** Discards all durations. */
export const untimed: Timings = { waited() {}, committed() {}, read() {} };
