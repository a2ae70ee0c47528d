import { AsyncLocalStorage } from 'node:async_hooks';
import type { Expression, KyselyPlugin, QueryId, RootOperationNode, Transaction } from 'kysely';
import type { Database, Tx } from './database.ts';
import { createGroupCommit, type WorkShare, type WriteTimings } from './group-commit.ts';
import type { Schema } from './schema.ts';
import type { Compiled, Executor, ReadTimings, Statement } from './statement.ts';

/** True inside `Database.write`; what runs there may only use its `tx`. */
const insideWrite = new AsyncLocalStorage<true>();

/** A transaction of the engine: Kysely's, and the statements that run in it. */
export interface EngineTransaction {
  query: Transaction<Schema>;
  executor: Executor;
  leaseNow: () => Expression<number>;
}

/** The write door over an engine's transactions. */
export function createWrite(
  transact: (inside: (transaction: EngineTransaction) => Promise<void>) => Promise<void>,
  timings: WriteTimings,
): Database['write'] {
  const begin = (inside: (begin: () => WorkTx) => Promise<void>) =>
    transact(transaction => inside(() => new WorkTx(transaction)));
  const groupCommit = createGroupCommit<WorkTx>(begin, timings);
  return (work, { traceparent = null, ...options } = {}) => {
    if (insideWrite.getStore()) throw new Error('A write inside a write would wait for itself.');
    return groupCommit(tx => {
      tx.traceparent = traceparent;
      return insideWrite.run(true, work, tx);
    }, options);
  };
}

/** The part of a transaction that belongs to one work. */
class WorkTx implements Tx, WorkShare<WorkTx> {
  readonly tx = this;
  traceparent: string | null = null;
  readonly hooks: (() => void)[] = [];
  readonly putOff: WorkShare<WorkTx>['putOff'] = [];
  readonly counted: WorkShare<WorkTx>['counted'] = [];
  readonly #transaction: EngineTransaction;
  readonly #sent: Promise<unknown>[] = [];
  #query: Transaction<Schema> | undefined;
  #over = false;
  hasWritten = false;

  constructor(transaction: EngineTransaction) {
    this.#transaction = transaction;
  }

  get query(): Transaction<Schema> {
    this.#query ??= this.#transaction.query.withPlugin(
      seeing(node => {
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
    return this.#transaction.executor.all(this.#compiled(statement), values as object) as Promise<R[]>;
  }

  async first<V, R>(statement: Statement<V, R>, values: V): Promise<R | undefined> {
    return (await this.all(statement, values))[0];
  }

  run<V>(statement: Statement<V, unknown>, values: V): Promise<number> {
    return this.#transaction.executor.run(this.#compiled(statement), values as object);
  }

  insert<V>(statement: Statement<V, unknown>, values: V): Promise<number> {
    return this.#transaction.executor.insert(this.#compiled(statement), values as object);
  }

  send<V>(statement: Statement<V, unknown>, values: V): void {
    const sent = this.#transaction.executor.send(this.#compiled(statement), values as object);
    if (sent) this.#sent.push(sent);
  }

  async arrived(): Promise<void> {
    await Promise.all(this.#sent);
  }

  #compiled<V>(statement: Statement<V, unknown>): Compiled {
    this.#assertOpen();
    const compiled = this.#transaction.executor.compile(statement as Statement<never, unknown>);
    if (!compiled.reads) this.hasWritten = true;
    return compiled;
  }

  beforeCommit(order: number, run: (tx: Tx) => void): void {
    this.#assertOpen();
    this.putOff.push({ order, run });
  }

  count(key: string, by: number, store: (tx: Tx, sum: number) => void): void {
    this.#assertOpen();
    this.counted.push({ key, by, store });
  }

  afterCommit(hook: () => void): void {
    this.#assertOpen();
    this.hooks.push(hook);
  }

  end(): void {
    this.#over = true;
  }

  /**
   * Whoever still holds the transaction (a handler that did not await its last query) must not reach the connection,
   * which by then belongs to another write.
   */
  #assertOpen(): void {
    if (this.#over) throw new Error('The write is over; its transaction takes nothing more.');
  }
}

/** @throws if a read handle is used where the transaction should be: it would deadlock on SQLite and silently read old rows on PostgreSQL. */
export function assertOutsideWrite(): void {
  if (insideWrite.getStore()) throw new Error('Inside a write only its transaction may be used.');
}

/** Shows every query of a handle to `see`, which may throw. */
export function seeing(see: (node: RootOperationNode) => void): KyselyPlugin {
  return {
    transformQuery({ node }) {
      see(node);
      return node;
    },
    async transformResult({ result }) {
      return result;
    },
  };
}

/** For the queries of a read handle: none inside a write, and each is timed, with its wait for a connection. */
export function readingOutside({ read }: ReadTimings): KyselyPlugin {
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
