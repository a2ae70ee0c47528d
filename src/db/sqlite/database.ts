import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { Kysely, SqliteDialect, sql, Transaction } from 'kysely';
import { type Clock, systemClock } from '../../clock.ts';
import { StartError } from '../../errors.ts';
import { type Database, type ReadOnlyDatabase, type Timings, untimed } from '../database.ts';
import { migrateToLatest, missingMigrations, unknownMigrations } from '../migrator.ts';
import { createProbe } from '../probe.ts';
import type { Schema } from '../schema.ts';
import { type Compiled, type Executor, reading, type Statement, statementCompiler } from '../statement.ts';
import { assertOutsideWrite, createWrite, readingOutside, seeing } from '../transaction.ts';
import { sqliteDialect } from './dialect.ts';
import { createDiskMemory } from './disk.ts';
import { WriterDialect, WriterDriver } from './driver.ts';
import { lockSqlite, sqliteError } from './file.ts';
import { LeaseClock } from './lease-clock.ts';
import { prepareFile, tightenDatabase } from './permissions.ts';
import { soleProcess } from './presence.ts';

const STATEMENTS_KEPT = 500;
const READER = { readonly: true, timeout: 5000 };

/**
 * Opens the SQLite file, creating it and its folder, and holds a lock beside it that dies with this process. Without the
 * lock it is opened beside the process that has it.
 * @param given measures leases in the place of a {@link LeaseClock}
 * @throws StartError if the file is in use by another instance, is not a database or cannot be written.
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
    // WAL alone would mean NORMAL here, and a 201 could vanish with the power.
    writer.pragma('synchronous = FULL');
    writer.pragma('foreign_keys = ON');
    // A statement that writes several rows keeps a journal of its own; in a file it took four fifths of all system calls.
    writer.pragma('temp_store = MEMORY');
    // Pages that are written again and again are copied into the file once per this many, not per thousand: 40 MB of log.
    writer.pragma('wal_autocheckpoint = 10000');
    // A reader that takes long lets it grow beyond that; when it has ended, so has the growth.
    writer.pragma('journal_size_limit = 50000000');
    writer.pragma('cache_size = -16000');
    // The library's own busy wait would stop the event loop; WriterDriver waits instead.
    writer.pragma('busy_timeout = 0');
    const [reader, snapshots] = [open(path, READER), open(path, READER)];
    // A connection opens the log at its first read, by its path; now it is certainly there.
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
   * After some errors (a full disk) SQLite has rolled back by itself, and whatever somebody who has caught the error goes
   * on to write would be stored at once, one statement at a time.
   */
  const assertInTransaction = () => {
    if (!writer.inTransaction) throw new Error('The write is over; its transaction takes nothing more.');
  };
  const inTransaction = seeing(assertInTransaction);
  const executor = executorOn(writer, compile, assertInTransaction);
  const inSnapshot = reading(executorOn(snapshots, compile, assertOutsideWrite), timings);
  const leaseNow = () => sql.val(leaseClock.now());
  const disk = createDiskMemory(dirname(path));
  const transaction = new Transaction<Schema>({ config: { dialect }, dialect, driver, executor: root.getExecutor() });
  /** As Kysely's own `transaction().execute()`, whose layers took longer than a lone write's statements. */
  const ownClock = leaseClock instanceof LeaseClock ? leaseClock : undefined;
  const transact: Parameters<typeof createWrite>[0] = async inside => {
    try {
      await driver.beginTransaction();
      ownClock?.begun();
      await inside({
        get query() {
          return transaction.withPlugin(inTransaction);
        },
        executor,
        leaseNow,
      });
      ownClock?.ending();
      await driver.commitTransaction();
    } catch (error) {
      disk.failed(error);
      await driver.rollbackTransaction();
      throw error;
    }
  };
  const write = createWrite(transact, timings);
  const probe = createProbe(write);
  return {
    engine: 'sqlite',
    shared: false,
    read: { query: read, ...reading(executorOn(reader, compile, assertOutsideWrite), timings) },
    presence: soleProcess(),
    // One process per file: there is nobody to tell.
    announce() {},
    onOthersWrites() {},
    snapshot: work => snapshot.transaction().execute(query => work({ query, ...inSnapshot })),
    write,
    probe: async () => {
      await probe();
      await disk.assertRoom();
    },
    leaseTime: at => ownClock?.ofWall(at) ?? at,
    async migrate() {
      const applied = await migrateToLatest(root, 'sqlite');
      ownClock?.resume();
      return applied;
    },
    missingMigrations: () => missingMigrations(read, 'sqlite'),
    async close() {
      await Promise.all([root, read, snapshot].map(kysely => kysely.destroy()));
      closeAll();
    },
  };
}

/**
 * Opens the SQLite file to look only, beside the process that uses it. Nothing in it can be changed, and no lock is taken.
 * @param own a file that nobody else knows of is opened as for writing: in others SQLite leaves CHECK constraints out of
 *   its `integrity_check`
 * @throws StartError if there is no file, or it is not a database or cannot be read
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
    read: { query, ...reading(executorOn(connection, compile), untimed) },
    missingMigrations: () => missingMigrations(query, 'sqlite'),
    unknownMigrations: () => unknownMigrations(query),
    async close() {
      await query.destroy();
      connection.close();
    },
  };
}

function queriesOn(connection: BetterSqlite.Database, timings: Timings): Kysely<Schema> {
  const dialect = new SqliteDialect({ database: cachingStatements(connection) });
  return new Kysely<Schema>({ dialect, plugins: [readingOutside(timings)] });
}

/** Statements straight on a connection, each prepared once. */
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
 * Kysely prepares its SQL text at each call; keeping the statement made a read by id five times faster.
 * The oldest statement leaves when the map is full, so that lists of varying length cannot fill the memory.
 */
function cachingStatements(connection: BetterSqlite.Database): Pick<BetterSqlite.Database, 'prepare' | 'close'> {
  const statements = new Map<string, BetterSqlite.Statement>();
  const prepare = (text: string): BetterSqlite.Statement => {
    const known = statements.get(text);
    if (known) return known;
    const statement = connection.prepare(text);
    const [oldest] = statements.keys();
    if (statements.size >= STATEMENTS_KEPT && oldest !== undefined) statements.delete(oldest);
    statements.set(text, statement);
    return statement;
  };
  return { prepare: prepare as BetterSqlite.Database['prepare'], close: () => connection };
}
