import { type Expression, Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import type { Clock } from '../../clock.ts';
import { coalesce } from '../../coalesce.ts';
import { maskedUrl } from '../../config.ts';
import { textOf } from '../../error-text.ts';
import { StartError } from '../../errors.ts';
import type { Logger } from '../../logging.ts';
import { type Database, type ReadOnlyDatabase, type Timings, untimed } from '../database.ts';
import { errorCode } from '../errors.ts';
import { migrateToLatest, missingMigrations, unknownMigrations } from '../migrator.ts';
import { createProbe } from '../probe.ts';
import type { Schema } from '../schema.ts';
import { type Compiled, type Executor, reading, type Statement, statementCompiler } from '../statement.ts';
import { assertOutsideWrite, createWrite, readingOutside } from '../transaction.ts';
import { postgresDialect } from './dialect.ts';
import { advisoryPresence, holdPresence } from './presence.ts';
import { standingConnection } from './session.ts';

/**
 * How long anything may take on the server. One that hangs keeps its connections and answers nothing on them, so only the
 * time tells; a connection on which something has taken longer is given up. Milliseconds, each longer than what it waits
 * for: a writer that stands still, its lock, a statement.
 */
const PATIENCE_MS = { idleInTransaction: 5000, lock: 6000, statement: 7000 };
const CONNECT_MS = 5000;
/** The advisory lock that serialises the writes of all processes on one database ("forumbus" as eight ASCII bytes). */
const WRITE_LOCK = 'select pg_advisory_xact_lock(7381244162955441523)';
/** Where processes tell each other that they have committed something. */
const CHANNEL = 'forumbus';
const POOL_SIZE = 10;
/**
 * The server plans a prepared statement once, perhaps while the tables are still empty and reading all of one looks cheap,
 * and keeps to that plan until it next gathers statistics. All of our statements have an index to go by. Servers before 18
 * take a scan that is switched off for a costly query that is worth compiling; it never is.
 */
const PLANNING = '-c enable_seqscan=off -c jit=off';

/**
 * Connects to PostgreSQL.
 * @param leaseClock measures leases in the place of the server's clock
 * @throws StartError if the server cannot be reached or refuses the login.
 */
export async function openPostgres(
  url: string,
  log: Logger,
  leaseClock: Clock | undefined,
  timings: Timings,
): Promise<Database> {
  const settings = settingsOf(url, PLANNING);
  const pool = await connect(url, settings, log);
  const own: { name?: string } = {};
  const others = { heard: () => {} };
  const connection = standingConnection(url, log, async client => {
    client.on('notification', ({ payload }) => {
      if (payload !== own.name) others.heard();
    });
    await client.query(`listen ${CHANNEL}`);
    if (own.name) await holdPresence(client, own.name);
    // Whatever was said while nobody listened.
    others.heard();
  });
  const database = postgresDatabase(pool, leaseClock, timings);
  // An index on a large table takes its time, and so does another process that makes it.
  const unhurried = { ...settings, max: 1, lock_timeout: 0, query_timeout: 0 };
  return {
    ...database,
    async migrate() {
      const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool: openPool(unhurried, log) }) });
      return migrateToLatest(db, 'postgres').finally(() => db.destroy());
    },
    presence: advisoryPresence(pool, connection, own),
    announce: coalesce(() =>
      // A lost notification costs others a poll interval.
      connection.query(`select pg_notify('${CHANNEL}', $1)`, [own.name ?? '']).catch(() => {}),
    ),
    onOthersWrites(heard) {
      others.heard = heard;
    },
    async close() {
      await connection.close();
      await database.close();
    },
  };
}

/**
 * Connects to look only: the server refuses every change.
 * @throws StartError as {@link openPostgres}
 */
export async function openPostgresReadOnly(url: string, log: Logger): Promise<ReadOnlyDatabase> {
  const settings = settingsOf(url, `${PLANNING} -c default_transaction_read_only=on`);
  const { engine, read, missingMigrations, close } = postgresDatabase(
    await connect(url, settings, log),
    undefined,
    untimed,
  );
  return { engine, read, missingMigrations, close, unknownMigrations: () => unknownMigrations(read.query) };
}

/** @param options given to the server for each connection */
function settingsOf(url: string, options: string): pg.PoolConfig {
  return {
    connectionString: url,
    max: POOL_SIZE,
    // Statements leave without waiting for the ones before them.
    pipeline: true,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: 'forumbus',
    options,
    // A process that is stopped in the middle of a write would hold the write lock for everybody.
    idle_in_transaction_session_timeout: PATIENCE_MS.idleInTransaction,
    lock_timeout: PATIENCE_MS.lock,
    query_timeout: PATIENCE_MS.statement,
    types: { getTypeParser },
  };
}

async function connect(url: string, settings: pg.PoolConfig, log: Logger): Promise<pg.Pool> {
  const pool = openPool(settings, log);
  try {
    await pool.query('select 1');
  } catch (error) {
    await pool.end();
    const reason = errorCode(error) ?? textOf(error);
    throw new StartError(`The database ${maskedUrl(url)} cannot be reached (${reason}).`);
  }
  return pool;
}

function openPool(settings: pg.PoolConfig, log: Logger): pg.Pool {
  const pool = new pg.Pool(settings);
  // A connection that breaks between two queries says so by an event, to the pool while it is idle and by itself while it
  // is in use; without a listener for both it would end the process. The next query fails, or gets another connection.
  pool.on('error', error => log.debug({ err: error }, 'an idle database connection broke'));
  pool.on('connect', client => client.on('error', error => log.warn({ err: error }, 'a database connection broke')));
  return pool;
}

function postgresDatabase(
  pool: pg.Pool,
  leaseClock: Clock | undefined,
  timings: Timings,
): Omit<Database, 'migrate' | 'presence' | 'announce' | 'onOthersWrites'> {
  const root = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  const read = root.withPlugin(readingOutside(timings));
  const compile = statementCompiler({
    query: root,
    dialect: postgresDialect,
    leaseClock: leaseClock && (() => leaseClock.now()),
  });
  const leaseNow = () =>
    leaseClock ? sql<number>`${leaseClock.now()}::bigint` : (postgresDialect.serverNow as Expression<number>);
  const executor = executorOn(pool, compile, assertOutsideWrite);
  const write = createWrite(
    inside =>
      onOneConnection(pool, (client, query) =>
        query.transaction().execute(async transaction => {
          await client.query(WRITE_LOCK);
          await inside({ query: transaction, executor: executorOn(client, compile), leaseNow });
        }),
      ),
    timings,
  );
  return {
    engine: 'postgres',
    shared: true,
    read: { query: read, ...reading(executor, timings) },
    snapshot: work =>
      onOneConnection(pool, (client, query) =>
        query
          .transaction()
          .setIsolationLevel('repeatable read')
          .setAccessMode('read only')
          .execute(inside =>
            work({
              query: inside.withPlugin(readingOutside(timings)),
              ...reading(executorOn(client, compile, assertOutsideWrite), timings),
            }),
          ),
      ),
    write,
    probe: createProbe(write),
    missingMigrations: () => missingMigrations(read, 'postgres'),
    close: () => pool.end(),
  };
}

/** Lends a connection of the pool, and a Kysely that uses no other. */
async function onOneConnection<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient, query: Kysely<Schema>) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  try {
    const lent = { query: client.query.bind(client), release() {} } as unknown as pg.PoolClient;
    const one = { connect: async () => lent, end: async () => {} } as unknown as pg.Pool;
    return await work(client, new Kysely<Schema>({ dialect: new PostgresDialect({ pool: one }) }));
  } finally {
    client.release();
  }
}

/** Statements straight on a connection; the server keeps them prepared by their names. */
function executorOn(
  connection: pg.Pool | pg.PoolClient,
  compile: (statement: Statement<never, unknown>) => Compiled,
  assertAllowed: () => void = () => {},
): Executor {
  const send = (compiled: Compiled, values: object) => {
    assertAllowed();
    return connection.query({ name: compiled.name, text: compiled.text, values: compiled.bind(values) });
  };
  return {
    compile,
    all: async (compiled, values) => (await send(compiled, values)).rows,
    run: async (compiled, values) => (await send(compiled, values)).rowCount ?? 0,
    insert: async (compiled, values) => Object.values((await send(compiled, values)).rows[0])[0] as number,
    send(compiled, values) {
      const sent = send(compiled, values);
      // Whoever looks at it later sees the error; until then it must not count as unhandled.
      sent.catch(() => {});
      return sent;
    },
  };
}

/** Every int8 of ours fits a double: sequences, counts and milliseconds stay below 2^53. */
const getTypeParser: typeof pg.types.getTypeParser = (oid: number, format?: 'text' | 'binary') =>
  oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format as 'text');
