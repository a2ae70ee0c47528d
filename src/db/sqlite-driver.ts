import { statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import {
  CompiledQuery,
  type DatabaseConnection,
  SqliteAdapter,
  SqliteDialect,
  type SqliteDialectConfig,
  SqliteDriver,
} from 'kysely';
import { errorCode } from './errors.ts';

/** How long a write waits for another program's transaction before it gives up. Milliseconds. */
const WRITER_PATIENCE_MS = 30_000;

/** Where the writer's statements go, and the connection itself. */
interface Writer {
  statements: Pick<BetterSqlite.Database, 'prepare' | 'close'>;
  connection: BetterSqlite.Database;
  /** The file, by its absolute path. */
  path: string;
}

/** The dialect of the connection that writes. */
export class WriterDialect extends SqliteDialect {
  readonly #writer: Writer;
  readonly #config: SqliteDialectConfig;
  constructor(writer: Writer) {
    const config = { database: writer.statements };
    super(config);
    this.#writer = writer;
    this.#config = config;
  }
  override createDriver(): SqliteDriver {
    return new WriterDriver(this.#config, this.#writer);
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

/** How transactions begin and end on the connection that writes. */
class WriterDriver extends SqliteDriver {
  readonly #connection: BetterSqlite.Database;
  readonly #path: string;
  /** Tells the file that is open from any other one at its path. */
  readonly #identity: string | undefined;

  constructor(config: SqliteDialectConfig, { connection, path }: Writer) {
    super(config);
    this.#connection = connection;
    this.#path = path;
    this.#identity = identityOf(path);
  }

  /**
   * Takes the write lock. A deferred transaction that reads first and then writes fails at once, whatever the timeout,
   * when another program has written in between (SQLITE_BUSY_SNAPSHOT).
   */
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    const deadline = performance.now() + WRITER_PATIENCE_MS;
    for (let pause = 1; ; pause = Math.min(pause * 2, 20)) {
      try {
        await connection.executeQuery(CompiledQuery.raw('begin immediate'));
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
  override async commitTransaction(connection: DatabaseConnection): Promise<void> {
    if (identityOf(this.#path) !== this.#identity) {
      throw new BetterSqlite.SqliteError('the database file has been moved or deleted', 'SQLITE_READONLY_DBMOVED');
    }
    await super.commitTransaction(connection);
  }

  /**
   * After some errors (a full disk, a failed write) SQLite has rolled back by itself; to do it again is an error that
   * would take the place of the one that says what is wrong.
   */
  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#connection.inTransaction) await super.rollbackTransaction(connection);
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
