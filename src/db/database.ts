import { AsyncLocalStorage } from 'node:async_hooks';
import type { Expression, Kysely, KyselyPlugin, Transaction } from 'kysely';
import type { Presence } from './presence.ts';
import type { Schema } from './schema.ts';

export type Engine = 'sqlite' | 'postgres';

/** What a reading repository method takes: the read handle, or a transaction when it must see that transaction's own writes. */
export interface Reader {
  readonly query: Kysely<Schema>;
}

/** What a writing repository method takes. Only `Database.write` makes one. */
export interface Tx extends Reader {
  readonly query: Transaction<Schema>;
  /** Epoch milliseconds on the clock that leases are measured with: the service's on SQLite, the server's on PostgreSQL. */
  readonly leaseNow: Expression<number>;
  /** Runs `hook` once the transaction is durable, and never if it is not. Hooks must not throw. */
  afterCommit(hook: () => void): void;
}

/**
 * One database behind two doors. `read` never waits for a writer. `write` is the only way to change anything.
 * `snapshot` reads several times and sees one moment.
 *
 * Writes are serialised: by SQLite's single writer, on PostgreSQL by an advisory lock that every write takes first.
 * So a write may read, decide and then write without meeting another one half-way, locks are never taken in two orders,
 * and event sequences become visible in the order in which they were given out.
 */
export interface Database {
  readonly engine: Engine;
  readonly read: Reader;
  snapshot<T>(work: (reader: Reader) => Promise<T>): Promise<T>;
  write<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
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

/** True inside `Database.write`; what runs there may only use its `tx`. */
const insideWrite = new AsyncLocalStorage<true>();

/**
 * Runs one write: `transact` opens the engine's transaction around the work; hooks run after it has committed.
 * They run outside the transaction's async context, so that what they start may use the database again.
 */
export async function runWrite<T>(
  transact: (work: (query: Transaction<Schema>) => Promise<T>) => Promise<T>,
  leaseNow: () => Expression<number>,
  work: (tx: Tx) => Promise<T>,
): Promise<T> {
  if (insideWrite.getStore()) throw new Error('A write inside a write would wait for itself.');
  const hooks: (() => void)[] = [];
  const state = { over: false };
  const result = await insideWrite.run(true, () =>
    transact(query =>
      work({
        query: query.withPlugin(refuseWhen(() => state.over, 'The write is over; its transaction takes nothing more.')),
        leaseNow: leaseNow(),
        afterCommit: hook => hooks.push(hook),
      }).finally(() => {
        // Whoever still holds the transaction (a handler that did not await its last query) must not reach the
        // connection, which by then belongs to another write.
        state.over = true;
      }),
    ),
  );
  for (const hook of hooks) hook();
  return result;
}

/** On the root handles: a query that should have used `tx` would deadlock on SQLite and silently read old rows on PostgreSQL. */
export const refuseInsideWrite = refuseWhen(
  () => insideWrite.getStore() === true,
  'Inside a write only its transaction may be used.',
);

function refuseWhen(refuses: () => boolean, reason: string): KyselyPlugin {
  return {
    transformQuery({ node }) {
      if (refuses()) throw new Error(reason);
      return node;
    },
    async transformResult({ result }) {
      return result;
    },
  };
}
