import { AsyncLocalStorage } from 'node:async_hooks';
import type { Expression, KyselyPlugin, QueryId, RootOperationNode, Transaction } from 'kysely';
import type { Database, Tx } from './database.ts';
import { createGroupCommit, type GroupOptions, type WorkShare, type WriteTimings } from './group-commit.ts';
import type { Schema } from './schema.ts';
import type { Compiled, Executor, ReadTimings, Statement } from './statement.ts';

/** True inside `Database.write`: code that runs there may use only its `tx`. */
const insideWrite = new AsyncLocalStorage<true>();

/** A transaction of an engine, for Kysely's queries (`query`) and for statements (`executor`). */
export interface EngineTransaction {
  query: Transaction<Schema>;
  /** Makes the executor of one work. */
  newExecutor: () => Executor;
  /** Epoch milliseconds on the clock that measures leases. */
  leaseNow: () => Expression<number>;
  /** See `Tx.announceEvents`. Returns undefined if nothing needs to be awaited. */
  announceEvents: () => Promise<unknown> | undefined;
}

/**
 * Builds `Database.write` over an engine's transactions.
 * @param transact runs `body` in a transaction: commits when it resolves, rolls back when it rejects. Without `flush`,
 *   a power failure may undo it
 * @param options.groupMs see `createGroupCommit`
 * @param options.sideBySide whether transactions that touch different things run side by side
 */
export function createWrite(
  transact: (body: (transaction: EngineTransaction) => Promise<void>, options: GroupOptions) => Promise<void>,
  timings: WriteTimings,
  { groupMs, sideBySide = false }: { groupMs?: number; sideBySide?: boolean } = {},
): Database['write'] {
  const transactInShares = (body: (newShare: () => WorkTx) => Promise<void>, options: GroupOptions) =>
    transact(transaction => body(() => new WorkTx(transaction)), options);
  const newGroupCommit = () => createGroupCommit<WorkTx>(transactInShares, timings, groupMs);
  const forRuns = newGroupCommit();
  // Deliveries of all processes follow one another, and those of this one must not keep its runs waiting.
  const forDeliveries = sideBySide ? newGroupCommit() : forRuns;
  return (work, { traceparent = null, tokenId = null, ...options } = {}) => {
    if (insideWrite.getStore()) throw new Error('A write inside a write would wait for itself.');
    const groupCommit = options.touches?.includes('deliveries') ? forDeliveries : forRuns;
    return groupCommit(tx => {
      tx.traceparent = traceparent;
      tx.tokenId = tokenId;
      return insideWrite.run(true, work, tx);
    }, options);
  };
}

/** The `Tx` of one work, and its share of the group's transaction. */
class WorkTx implements Tx, WorkShare<WorkTx> {
  readonly tx = this;
  traceparent: string | null = null;
  tokenId: string | null = null;
  readonly hooks: (() => void)[] = [];
  readonly deferred: WorkShare<WorkTx>['deferred'] = [];
  readonly increments: WorkShare<WorkTx>['increments'] = [];
  readonly #transaction: EngineTransaction;
  readonly #executor: Executor;
  readonly #sent: Promise<unknown>[] = [];
  #query: Transaction<Schema> | undefined;
  #ended = false;
  hasWritten = false;

  constructor(transaction: EngineTransaction) {
    this.#transaction = transaction;
    this.#executor = transaction.newExecutor();
  }

  get query(): Transaction<Schema> {
    this.#query ??= this.#transaction.query.withPlugin(
      observeQueries(node => {
        this.#assertOpen();
        if (node.kind !== 'SelectQueryNode') this.hasWritten = true;
      }),
    );
    return this.#query;
  }

  get leaseNow(): Expression<number> {
    return this.#transaction.leaseNow();
  }

  all<V, R>(statement: Statement<V, R>, values: V): Promise<R[]> {
    return this.#executor.all(this.#compiled(statement), values as object) as Promise<R[]>;
  }

  async first<V, R>(statement: Statement<V, R>, values: V): Promise<R | undefined> {
    return (await this.all(statement, values))[0];
  }

  run<V>(statement: Statement<V, unknown>, values: V): Promise<number> {
    return this.#executor.run(this.#compiled(statement), values as object);
  }

  insert<V>(statement: Statement<V, unknown>, values: V): Promise<number> {
    return this.#executor.insert(this.#compiled(statement), values as object);
  }

  send<V>(statement: Statement<V, unknown>, values: V): void {
    const sent = this.#executor.send(this.#compiled(statement), values as object);
    if (sent) this.#sent.push(sent);
  }

  announceEvents(): void {
    this.#assertOpen();
    const sent = this.#transaction.announceEvents();
    if (sent) this.#sent.push(sent);
  }

  async sendsFinished(): Promise<void> {
    await Promise.all(this.#sent);
  }

  #compiled<V>(statement: Statement<V, unknown>): Compiled {
    this.#assertOpen();
    const compiled = this.#executor.compile(statement as Statement<never, unknown>);
    if (!compiled.reads) this.hasWritten = true;
    return compiled;
  }

  beforeCommit(stage: number, place: number, run: (tx: Tx) => void): void {
    this.#assertOpen();
    this.deferred.push({ stage, place, run });
  }

  count(key: string, by: number, store: (tx: Tx, sum: number) => void): void {
    this.#assertOpen();
    this.increments.push({ key, by, store });
  }

  afterCommit(hook: () => void): void {
    this.#assertOpen();
    this.hooks.push(hook);
  }

  end(): void {
    this.#ended = true;
  }

  /** A handler that did not await its last query may use its `tx` too late, when the connection runs another write. */
  #assertOpen(): void {
    if (this.#ended) throw new Error('The write is over; its transaction accepts no more statements.');
  }
}

/**
 * Guards every read handle against use inside a write, where it would not see the write's own changes.
 * @throws Error inside a write
 */
export function assertOutsideWrite(): void {
  if (insideWrite.getStore()) throw new Error('Inside a write only its transaction may be used.');
}

/** Calls `observe` with every query of a handle before it runs; `observe` may throw to stop the query. */
export function observeQueries(observe: (node: RootOperationNode) => void): KyselyPlugin {
  return {
    transformQuery({ node }) {
      observe(node);
      return node;
    },
    async transformResult({ result }) {
      return result;
    },
  };
}

/** Refuses the queries of a read handle inside a write, and times each, including its wait for a connection. */
export function readGuard({ read }: ReadTimings): KyselyPlugin {
  const began = new WeakMap<QueryId, number>();
  return {
    transformQuery({ node, queryId }) {
      assertOutsideWrite();
      began.set(queryId, performance.now());
      return node;
    },
    async transformResult({ result, queryId }) {
      read(performance.now() - (began.get(queryId) as number));
      return result;
    },
  };
}
