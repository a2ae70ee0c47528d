import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { Kysely, sql, Transaction } from 'kysely';
import { type Clock, systemClock } from '../../clock.ts';
import { StartError } from '../../errors.ts';
import { type Database, type ReadOnlyDatabase, type Timings, untimed } from '../database.ts';
import { migrateToLatest, missingMigrations, unknownMigrations } from '../migrator.ts';
import { createProbe } from '../probe.ts';
import type { Schema } from '../schema.ts';
import { type Compiled, type Executor, type Statement, statementCompiler, timedReads } from '../statement.ts';
import { assertOutsideWrite, createWrite, observeQueries, readGuard } from '../transaction.ts';
import { sqliteDialect } from './dialect.ts';
import { createDiskCheck } from './disk.ts';
import { PreparedDialect, WriterDialect, WriterDriver } from './driver.ts';
import { lockSqlite, sqliteError } from './file.ts';
import { LeaseClock } from './lease-clock.ts';
import { prepareFile, tightenDatabase } from './permissions.ts';
import { soleProcess } from './presence.ts';

/** How long a group of writes may begin works: half of what a request may cost. Milliseconds. */
const GROUP_MS = 50;
const STATEMENT_CACHE_SIZE = 500;
const READER = { readonly: true, timeout: 5000 };

/**
 * Opens the SQLite file, after creating missing folders and the file, and takes its lock.
 * @param given measures leases; defaults to a {@link LeaseClock}
 * @param options.lock false to open the file without the lock, alongside the process that holds it
 * @throws StartError if another process holds the lock, or the file is not a database or cannot be written
 */
export function openSqlite(
  file: string,
  given: Clock | undefined,
  timings: Timings,
  { lock } = { lock: true },
): Database {
  const path = resolve(file);
  const opened: { close(): unknown }[] = [];
  const open = (name: string, options: BetterSqlite.Options): BetterSqlite.Database => {
    const connection = new BetterSqlite(name, options);
    opened.push(connection);
    return connection;
  };
  try {
    prepareFile(path);
    if (lock) opened.push({ close: lockSqlite(path) });
    const writer = open(path, { timeout: 5000 });
    writer.pragma('journal_mode = WAL');
    tightenDatabase(path);
    writer.pragma('foreign_keys = ON');
    // In a file, the statement journals of multi-row writes caused four fifths of all system calls.
    writer.pragma('temp_store = MEMORY');
    // A checkpoint every 10000 pages (40 MB of log) instead of 1000 copies hot pages to the file less often.
    writer.pragma('wal_autocheckpoint = 10000');
    // A long read lets the log grow beyond that; the first checkpoint after it cuts the log back to this size.
    writer.pragma('journal_size_limit = 50000000');
    // The upper pages of all indexes; 16 MB make nothing faster.
    writer.pragma('cache_size = -8000');
    // The busy wait of better-sqlite3 would block the event loop; WriterDriver waits instead.
    writer.pragma('busy_timeout = 0');
    const [reader, snapshots] = [open(path, READER), open(path, READER)];
    // A connection opens the log by its path at its first read. Read now, while the file cannot have been moved yet.
    for (const connection of [reader, snapshots]) connection.pragma('schema_version');
    const leaseClock = given ?? new LeaseClock(writer);
    return sqliteDatabase({ writer, reader, snapshots }, path, leaseClock, timings, () => {
      for (const connection of opened.reverse()) connection.close();
    });
  } catch (error) {
    for (const connection of opened.reverse()) connection.close();
    throw sqliteError(path, 'writing', error);
  }
}

function sqliteDatabase(
  { writer, reader, snapshots }: Record<'writer' | 'reader' | 'snapshots', BetterSqlite.Database>,
  path: string,
  leaseClock: Clock,
  timings: Timings,
  closeAll: () => void,
): Database {
  const config = { database: cachingStatements(writer) };
  const driver = new WriterDriver(config, writer, path);
  const dialect = new WriterDialect(config, driver);
  const root = new Kysely<Schema>({ dialect });
  const [read, snapshot] = [queriesOn(reader, timings), queriesOn(snapshots, timings)];
  const compile = statementCompiler({ query: root, dialect: sqliteDialect, leaseClock: () => leaseClock.now() });
  /**
   * After some errors (a full disk) SQLite rolls back by itself. A work that catches such an error and continues would
   * write outside any transaction: each statement would be stored at once.
   */
  const assertInTransaction = () => {
    if (!writer.inTransaction) throw new Error('The write is over; its transaction accepts no more statements.');
  };
  const transactionGuard = observeQueries(assertInTransaction);
  const executor = executorOn(writer, compile, assertInTransaction);
  const snapshotReads = timedReads(executorOn(snapshots, compile, assertOutsideWrite), timings);
  const leaseNow = () => sql.val(leaseClock.now());
  const disk = createDiskCheck(dirname(path));
  const transaction = new Transaction<Schema>({ config: { dialect }, dialect, driver, executor: root.getExecutor() });
  const ownClock = leaseClock instanceof LeaseClock ? leaseClock : undefined;
  /** Replaces Kysely's `transaction().execute()`, whose overhead exceeded the statements of a lone write. */
  const transact: Parameters<typeof createWrite>[0] = async (body, { flush }) => {
    try {
      driver.flushes = flush;
      await driver.beginTransaction();
      ownClock?.begun();
      await body({
        get query() {
          return transaction.withPlugin(transactionGuard);
        },
        newExecutor: () => executor,
        leaseNow,
        announceEvents: () => undefined,
      });
      ownClock?.ending();
      await driver.commitTransaction();
    } catch (error) {
      disk.recordFailure(error);
      await driver.rollbackTransaction();
      throw error;
    }
  };
  const write = createWrite(transact, timings, { groupMs: GROUP_MS });
  const probe = createProbe(write);
  return {
    engine: 'sqlite',
    shared: false,
    read: { query: read, ...timedReads(executorOn(reader, compile, assertOutsideWrite), timings) },
    others: async () => 0,
    presence: soleProcess(),
    // One process per file: no others to notify.
    announceCommit() {},
    onRemoteCommit() {},
    onOvertaken() {},
    snapshot: work => snapshot.transaction().execute(query => work({ query, ...snapshotReads })),
    write,
    probe: async () => {
      await probe();
      await disk.assertRoom();
    },
    leaseTime: at => ownClock?.ofWall(at) ?? at,
    async migrate() {
      const applied = await migrateToLatest(root, 'sqlite', async () => 0);
      ownClock?.resume();
      return applied;
    },
    missingMigrations: () => missingMigrations(read, 'sqlite'),
    unknownMigrations: () => unknownMigrations(read),
    async close() {
      await Promise.all([root, read, snapshot].map(kysely => kysely.destroy()));
      closeAll();
    },
  };
}

/**
 * Opens the SQLite file for reads only, without the lock, alongside the process that uses it.
 * @param own true for a file that no other process uses. Its connection is writable (`query_only` still refuses
 *   changes), because SQLite's `integrity_check` skips CHECK constraints on a read-only one
 * @throws StartError if the file does not exist, is not a database or cannot be read
 */
export function openSqliteReadOnly(file: string, own = false): ReadOnlyDatabase {
  const path = resolve(file);
  if (!existsSync(path)) throw new StartError(`There is no database at ${path}.`);
  let connection: BetterSqlite.Database | undefined;
  try {
    connection = new BetterSqlite(path, { ...READER, readonly: !own });
    connection.pragma('query_only = on');
    connection.pragma('schema_version');
  } catch (error) {
    connection?.close();
    throw sqliteError(path, 'reading', error);
  }
  const query = queriesOn(connection, untimed);
  const compile = statementCompiler({ query, dialect: sqliteDialect, leaseClock: () => systemClock.now() });
  return {
    engine: 'sqlite',
    read: { query, ...timedReads(executorOn(connection, compile), untimed) },
    missingMigrations: () => missingMigrations(query, 'sqlite'),
    unknownMigrations: () => unknownMigrations(query),
    async close() {
      await query.destroy();
      connection.close();
    },
  };
}

function queriesOn(connection: BetterSqlite.Database, timings: Timings): Kysely<Schema> {
  const dialect = new PreparedDialect({ database: cachingStatements(connection) });
  return new Kysely<Schema>({ dialect, plugins: [readGuard(timings)] });
}

/** Runs statements without Kysely, each prepared once. */
function executorOn(
  connection: BetterSqlite.Database,
  compile: (statement: Statement<never, unknown>) => Compiled,
  assertAllowed: () => void = () => {},
): Executor {
  const statements = new Map<Compiled, BetterSqlite.Statement>();
  const prepared = (compiled: Compiled): BetterSqlite.Statement => {
    assertAllowed();
    const known = statements.get(compiled);
    if (known) return known;
    const statement = connection.prepare(compiled.text);
    statements.set(compiled, statement);
    return statement;
  };
  return {
    compile,
    all: async (compiled, values) => prepared(compiled).all(compiled.bind(values)),
    run: async (compiled, values) => prepared(compiled).run(compiled.bind(values)).changes,
    insert: async (compiled, values) => Number(prepared(compiled).run(compiled.bind(values)).lastInsertRowid),
    send(compiled, values) {
      prepared(compiled).run(compiled.bind(values));
      return undefined;
    },
  };
}

/**
 * Caches prepared statements by SQL text. Kysely prepares at each call; the cache made a read by id five times faster.
 * A full cache evicts its oldest statement, so that lists of varying length cannot exhaust the memory.
 */
function cachingStatements(connection: BetterSqlite.Database): Pick<BetterSqlite.Database, 'prepare' | 'close'> {
  const statements = new Map<string, BetterSqlite.Statement>();
  const prepare = (text: string): BetterSqlite.Statement => {
    const known = statements.get(text);
    if (known) return known;
    const statement = connection.prepare(text);
    const [oldest] = statements.keys();
    if (statements.size >= STATEMENT_CACHE_SIZE && oldest !== undefined) statements.delete(oldest);
    statements.set(text, statement);
    return statement;
  };
  return { prepare: prepare as BetterSqlite.Database['prepare'], close: () => connection };
}
