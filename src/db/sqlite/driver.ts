import { statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import { SqliteAdapter, SqliteDialect, type SqliteDialectConfig, SqliteDriver } from 'kysely';
import { errorCode } from '../errors.ts';

/** How long a write waits for another program's transaction before it gives up. Milliseconds. */
const WRITER_PATIENCE_MS = 30_000;

/** The dialect of the connection that writes. */
export class WriterDialect extends SqliteDialect {
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

/** SQLite can roll back DDL, so a migration that fails half-way leaves nothing behind. */
class TransactionalDdlAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

/** How transactions begin and end on the connection that writes, for Kysely's migrator and for the service's own writes. */
export class WriterDriver extends SqliteDriver {
  readonly #connection: BetterSqlite.Database;
  readonly #path: string;
  /** Tells the file that is open from any other one at its path. */
  readonly #identity: string | undefined;
  readonly #statements: Record<'begin' | 'commit' | 'rollback', BetterSqlite.Statement>;

  /** @param path of the file, absolute */
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
  }

  /**
   * Takes the write lock. A deferred transaction that reads first and then writes fails at once, whatever the timeout,
   * when another program has written in between (SQLITE_BUSY_SNAPSHOT).
   */
  override async beginTransaction(): Promise<void> {
    const deadline = performance.now() + WRITER_PATIENCE_MS;
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
   * A file that was deleted or moved can still be written, and what is written is gone with the process. SQLite looks
   * for that in its other journal modes only.
   * @throws SqliteError SQLITE_READONLY_DBMOVED
   */
  override async commitTransaction(): Promise<void> {
    if (identityOf(this.#path) !== this.#identity) {
      throw new BetterSqlite.SqliteError('the database file has been moved or deleted', 'SQLITE_READONLY_DBMOVED');
    }
    this.#statements.commit.run();
  }

  /**
   * After some errors (a full disk, a failed write) SQLite has rolled back by itself; to do it again is an error that
   * would take the place of the one that says what is wrong.
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
