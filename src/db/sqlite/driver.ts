import { statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import { SqliteAdapter, SqliteDialect, type SqliteDialectConfig, SqliteDriver, SqliteQueryCompiler } from 'kysely';
import { errorCode } from '../errors.ts';

/** How long a write retries while another program holds the write lock. Milliseconds. */
const WRITE_LOCK_TIMEOUT_MS = 30_000;

/** Kysely's dialect, with statements that SQLite prepares once. */
export class PreparedDialect extends SqliteDialect {
  override createQueryCompiler(): SqliteQueryCompiler {
    return new PreparedCompiler();
  }
}

/**
 * SQLite prepares a statement anew, whenever something is bound to it, if its plan may depend on the value
 * (https://www.sqlite.org/c3ref/prepare.html). In 3.54 these are all with a bare parameter in LIMIT, or in an equation
 * beside ORDER BY or GROUP BY. It takes longer than to run most of them. Behind a sign, a parameter is an expression like others.
 */
class PreparedCompiler extends SqliteQueryCompiler {
  protected override getCurrentParameterPlaceholder(): string {
    return '+?';
  }
}

/** Kysely's dialect for the writing connection. */
export class WriterDialect extends PreparedDialect {
  readonly #driver: WriterDriver;
  constructor(config: SqliteDialectConfig, driver: WriterDriver) {
    super(config);
    this.#driver = driver;
  }
  override createDriver(): SqliteDriver {
    return this.#driver;
  }
  override createAdapter(): SqliteAdapter {
    return new TransactionalDdlAdapter();
  }
}

/** Lets Kysely run migrations in a transaction: SQLite can roll back DDL, so a failed migration leaves no trace. */
class TransactionalDdlAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

/** Begins and ends transactions on the writing connection, for Kysely's migrator and for the service's writes. */
export class WriterDriver extends SqliteDriver {
  readonly #connection: BetterSqlite.Database;
  readonly #path: string;
  /** Device and inode of the open file, to detect another file at its path. */
  readonly #identity: string | undefined;
  readonly #statements: Record<'begin' | 'commit' | 'rollback', BetterSqlite.Statement>;
  #flushes: boolean | undefined;

  /** @param path absolute path of the file */
  constructor(config: SqliteDialectConfig, connection: BetterSqlite.Database, path: string) {
    super(config);
    this.#connection = connection;
    this.#path = path;
    this.#identity = identityOf(path);
    this.#statements = {
      begin: connection.prepare('begin immediate'),
      commit: connection.prepare('commit'),
      rollback: connection.prepare('rollback'),
    };
    this.flushes = true;
  }

  /**
   * Whether the next commit flushes the log to disk. Without, a power failure could lose a write that was answered 201.
   * SQLite takes it between transactions only.
   */
  set flushes(flushes: boolean) {
    if (flushes === this.#flushes) return;
    this.#connection.pragma(`synchronous = ${flushes ? 'FULL' : 'NORMAL'}`);
    this.#flushes = flushes;
  }

  /**
   * Takes the write lock at once (BEGIN IMMEDIATE). A deferred transaction that reads and then writes would fail
   * without waiting if another program has written in between (SQLITE_BUSY_SNAPSHOT).
   * @throws SqliteError SQLITE_BUSY if another program keeps the lock for 30 s
   */
  override async beginTransaction(): Promise<void> {
    const deadline = performance.now() + WRITE_LOCK_TIMEOUT_MS;
    for (let pause = 1; ; pause = Math.min(pause * 2, 20)) {
      try {
        this.#statements.begin.run();
        return;
      } catch (error) {
        if (errorCode(error) !== 'SQLITE_BUSY' || performance.now() > deadline) throw error;
      }
      await delay(pause);
    }
  }

  /**
   * Refuses to commit to a file that was moved or deleted. It can still be written, but its data is lost when the
   * process ends. SQLite itself checks this only in journal modes other than WAL.
   * @throws SqliteError SQLITE_READONLY_DBMOVED
   */
  override async commitTransaction(): Promise<void> {
    if (identityOf(this.#path) !== this.#identity) {
      throw new BetterSqlite.SqliteError('the database file has been moved or deleted', 'SQLITE_READONLY_DBMOVED');
    }
    this.#statements.commit.run();
  }

  /**
   * Rolls back unless SQLite has done so itself, as after a full disk or a failed write. A second rollback would fail
   * and hide the original error.
   */
  override async rollbackTransaction(): Promise<void> {
    if (this.#connection.inTransaction) this.#statements.rollback.run();
  }
}

function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}
