import { type Expression, Kysely, PostgresDialect, sql, type Transaction } from 'kysely';
import pg from 'pg';
import { type Clock, newUid } from '../../clock.ts';
import { coalesce } from '../../coalesce.ts';
import { maskedUrl } from '../../config.ts';
import { textOf } from '../../error-text.ts';
import { StartError } from '../../errors.ts';
import type { Logger } from '../../logging.ts';
import { type Database, type ReadOnlyDatabase, type Timings, untimed } from '../database.ts';
import { AbortedTransaction, errorCode, Overtaken } from '../errors.ts';
import { migrateToLatest, missingMigrations, unknownMigrations } from '../migrator.ts';
import { createProbe } from '../probe.ts';
import type { Schema } from '../schema.ts';
import { type Compiled, type Executor, type Statement, statementCompiler, timedReads } from '../statement.ts';
import { assertOutsideWrite, createWrite, readGuard } from '../transaction.ts';
import { type BatchAnswer, Batches, createForms } from './batch.ts';
import { postgresDialect } from './dialect.ts';
import { REGISTER_BOUND } from './horizon.ts';
import { lockStatements } from './locks.ts';
import { advisoryPresence, countBeforeMigration, countPresent, holdPresence, returnPresent } from './presence.ts';
import { createStandingConnection } from './session.ts';
import { applySettings, assertUsable, type SessionOptions, TIMEOUT_MS } from './settings.ts';

const CONNECT_MS = 5000;
const BEGIN = 'begin isolation level read committed';
/** For one transaction: its commit does not wait until the server has flushed its log. */
const NO_FLUSH = 'set local synchronous_commit = off';
/** The NOTIFY channel on which processes announce their commits. */
const CHANNEL = 'forumbus';
const POOL_SIZE = 10;
/**
 * Connects to PostgreSQL.
 * @param leaseClock measures leases; defaults to the server's clock
 * @throws StartError if the server cannot be reached or refuses the login
 */
export async function openPostgres(
  url: string,
  log: Logger,
  leaseClock: Clock | undefined,
  timings: Timings,
): Promise<Database> {
  const own: { name?: string } = {};
  // Each connection proves that this process is alive before it does anything else for it.
  const present = new WeakSet<pg.ClientBase>();
  const overtaken = { listener: (_error: Overtaken) => {} };
  const arrive = async (client: pg.ClientBase) => {
    if (!own.name) return;
    present.add(client);
    await returnPresent(client, own.name).catch(error => {
      if (error instanceof Overtaken) overtaken.listener(error);
      throw error;
    });
  };
  const { pool, schema } = await connect(url, log, { arrive });
  pool.on('acquire', client => {
    if (!own.name || present.has(client)) return;
    present.add(client);
    holdPresence(client, own.name).catch(() => present.delete(client));
  });
  const remote = { listener: () => {} };
  const connection = createStandingConnection(url, log, async client => {
    await applySettings(client, {}, schema);
    client.on('notification', ({ payload }) => {
      if (payload !== own.name) remote.listener();
    });
    await client.query(`listen ${CHANNEL}`);
    await arrive(client);
    // Notifications sent while the connection was down are lost.
    remote.listener();
  });
  const database = postgresDatabase(pool, leaseClock, timings);
  return {
    ...database,
    async migrate() {
      // No timeouts: creating an index on a large table takes long, and so does waiting for a process that creates it.
      const pool = openPool({ ...configOf(url), max: 1, query_timeout: 0 }, log, client =>
        applySettings(client, { unhurried: true }, schema),
      );
      const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
      return migrateToLatest(db, 'postgres', countBeforeMigration).finally(() => db.destroy());
    },
    others: () => countPresent(database.read.query),
    presence: advisoryPresence(pool, connection, own),
    announceCommit: coalesce(() =>
      // A lost notification delays other processes by one poll interval.
      connection.query(`select pg_notify('${CHANNEL}', $1)`, [own.name ?? '']).catch(() => {}),
    ),
    onRemoteCommit(listener) {
      remote.listener = listener;
    },
    onOvertaken(listener) {
      overtaken.listener = listener;
    },
    async close() {
      await connection.close();
      await database.close();
    },
  };
}

/**
 * Connects for reads only: the server refuses every change.
 * @throws StartError if the server cannot be reached or refuses the login
 */
export async function openPostgresReadOnly(url: string, log: Logger): Promise<ReadOnlyDatabase> {
  const { pool } = await connect(url, log, { readOnly: true });
  const { engine, read, missingMigrations, unknownMigrations, close } = postgresDatabase(pool, undefined, untimed);
  return { engine, read, missingMigrations, unknownMigrations, close };
}

function configOf(url: string): pg.PoolConfig {
  return {
    connectionString: url,
    max: POOL_SIZE,
    // One connection stays open while the process is idle: it proves that the process is alive.
    min: 1,
    // Sends statements without waiting for the results of earlier ones.
    pipeline: true,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: 'forumbus',
    query_timeout: TIMEOUT_MS.statement,
    types: { getTypeParser },
  };
}

/** A pool whose connections depend on no default, and the schema of the tables. */
async function connect(
  url: string,
  log: Logger,
  { arrive, ...options }: SessionOptions & { arrive?: (client: pg.ClientBase) => Promise<void> } = {},
): Promise<{ pool: pg.Pool; schema: string }> {
  let schema: string | undefined;
  const pool = openPool(configOf(url), log, async client => {
    schema = await applySettings(client, options, schema);
    await arrive?.(client);
  });
  try {
    await assertUsable(pool);
    return { pool, schema: schema as unknown as string };
  } catch (error) {
    await pool.end();
    if (error instanceof StartError) throw error;
    const reason = errorCode(error) ?? textOf(error);
    throw new StartError(`The database ${maskedUrl(url)} cannot be reached (${reason}).`);
  }
}

/** @param onConnect prepares a new connection */
function openPool(config: pg.PoolConfig, log: Logger, onConnect: (client: pg.ClientBase) => Promise<unknown>): pg.Pool {
  const pool = new pg.Pool({ ...config, onConnect } as pg.PoolConfig);
  // A broken connection emits 'error': on the pool while it is idle, on itself while it is in use. Without listeners on
  // both, the event would end the process. The next query fails or gets another connection.
  pool.on('error', error => log.debug({ err: error }, 'an idle database connection broke'));
  pool.on('connect', client => client.on('error', error => log.warn({ err: error }, 'a database connection broke')));
  return pool;
}

function postgresDatabase(
  pool: pg.Pool,
  leaseClock: Clock | undefined,
  timings: Timings,
): Omit<Database, 'migrate' | 'others' | 'presence' | 'announceCommit' | 'onRemoteCommit' | 'onOvertaken'> {
  const root = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  const read = root.withPlugin(readGuard(timings));
  const compile = statementCompiler({
    query: root,
    dialect: postgresDialect,
    leaseClock: leaseClock && (() => leaseClock.now()),
  });
  const leaseNow = () =>
    leaseClock ? sql<number>`${leaseClock.now()}::bigint` : (postgresDialect.serverNow as Expression<number>);
  const executor = readsOn(pool, compile);
  const forms = createForms(text => typesOf(pool, text));
  const write = createWrite(
    (body, { flush, touches }) =>
      onOneConnection(pool, async client => {
        const batches = new Batches(forms, client);
        try {
          // Together, so that they share a round trip; Kysely would wait for each.
          const begin = [BEGIN, ...(flush ? [] : [NO_FLUSH])].map(text => ({ text }));
          await Promise.all([...begin, ...lockStatements(touches)].map(statement => client.query(statement)));
          const query = kyselyOn(client, () => batches.flush()) as Transaction<Schema>;
          const newExecutor = () => executorOn(batches.newCaller(), compile);
          await body({ query, newExecutor, leaseNow, announceEvents: once(() => client.query(REGISTER_BOUND)) });
          batches.flush();
          // The server answers a commit after a failed statement with a rollback, and with no error.
          if ((await client.query('commit')).command === 'ROLLBACK') throw new AbortedTransaction();
        } catch (error) {
          batches.discard();
          // A connection that has broken cannot; its server has rolled back.
          await client.query('rollback').catch(() => {});
          throw error;
        }
      }),
    timings,
    { sideBySide: true },
  );
  return {
    engine: 'postgres',
    shared: true,
    read: { query: read, ...timedReads(executor, timings) },
    snapshot: work =>
      onOneConnection(pool, client =>
        kyselyOn(client)
          .transaction()
          .setIsolationLevel('repeatable read')
          .setAccessMode('read only')
          .execute(transaction =>
            work({
              query: transaction.withPlugin(readGuard(timings)),
              ...timedReads(readsOn(client, compile), timings),
            }),
          ),
      ),
    write,
    leaseTime: at => at,
    probe: createProbe(write),
    missingMigrations: () => missingMigrations(read, 'postgres'),
    unknownMigrations: () => unknownMigrations(read),
    close: () => pool.end(),
  };
}

/** Sends something at the first call only, and without awaiting it; the transaction awaits it later and gets the error. */
function once(send: () => Promise<unknown>): () => Promise<unknown> | undefined {
  let isSent = false;
  return () => {
    if (isSent) return undefined;
    isSent = true;
    const sent = send();
    // Until then, the rejection must not count as unhandled.
    sent.catch(() => {});
    return sent;
  };
}

/** Runs `work` with one connection of the pool. */
async function onOneConnection<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    return await work(client);
  } finally {
    client.release();
  }
}

/** A Kysely that uses only this connection, and calls `before` ahead of each query. */
function kyselyOn(client: pg.PoolClient, before: () => void = () => {}): Kysely<Schema> {
  const query = (...given: [pg.QueryConfig]) => {
    before();
    return client.query(...given);
  };
  const unreleasable = { query, release() {} } as unknown as pg.PoolClient;
  const poolOfOne = { connect: async () => unreleasable, end: async () => {} } as unknown as pg.Pool;
  return new Kysely<Schema>({ dialect: new PostgresDialect({ pool: poolOfOne }) });
}

/** The types that the server gives the parameters of a statement, in their order. */
const typesOf = (pool: pg.Pool, text: string): Promise<string[]> =>
  onOneConnection(pool, async client => {
    const name = `forumbus_${newUid()}`;
    // In one transaction, so that a pooler in between keeps to one connection.
    await client.query('begin read only');
    try {
      await client.query(`prepare ${name} as ${text}`);
      const types = 'select parameter_types::text[] as types from pg_prepared_statements where name = $1';
      const { rows } = await client.query<{ types: string[] }>(types, [name]);
      await client.query(`deallocate ${name}`);
      return rows[0]?.types ?? [];
    } finally {
      await client.query('rollback').catch(() => {});
    }
  });

/**
 * Runs statements without Kysely; the server keeps each prepared under its name.
 * @param call sends one; `counts` says whether the answer is used
 */
function executorOn(
  call: (compiled: Compiled, parameters: unknown[], counts: boolean) => Promise<BatchAnswer>,
  compile: (statement: Statement<never, unknown>) => Compiled,
): Executor {
  const send = (compiled: Compiled, values: object, counts = true) => call(compiled, compiled.bind(values), counts);
  return {
    compile,
    all: async (compiled, values) => (await send(compiled, values)).rows,
    run: async (compiled, values) => (await send(compiled, values)).rowCount ?? 0,
    insert: async (compiled, values) => Object.values((await send(compiled, values)).rows[0] as object)[0] as number,
    send(compiled, values) {
      const sent = send(compiled, values, false);
      // The transaction awaits it later and gets the error; until then, the rejection must not count as unhandled.
      sent.catch(() => {});
      return sent;
    },
  };
}

/** Runs the statements of reads. */
const readsOn = (
  connection: pg.Pool | pg.PoolClient,
  compile: (statement: Statement<never, unknown>) => Compiled,
): Executor =>
  executorOn(({ name, text }, values) => {
    assertOutsideWrite();
    return connection.query({ name, text, values });
  }, compile);

/** Parses int8 to a number: sequences, counts and milliseconds stay below 2^53. */
const getTypeParser: typeof pg.types.getTypeParser = (oid: number, format?: 'text' | 'binary') =>
  oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format as 'text');
