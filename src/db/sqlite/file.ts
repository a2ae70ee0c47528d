import BetterSqlite from 'better-sqlite3';
import { StartError } from '../../errors.ts';
import { errorCode, isDamaged, troubleOf } from '../errors.ts';
import { makeOwnFile } from './permissions.ts';

/* A SQLite database as a file: locked for one process, copied while others write it, made whole. */

/** How long a file waits for another program's transaction. Milliseconds. */
const PATIENCE_MS = 5000;

/** Another Forumbus process has the database. */
export class DatabaseInUse extends StartError {}

/**
 * Takes the lock that a Forumbus process holds on its database: an open exclusive transaction in an otherwise empty file
 * beside it. The kernel drops it when its holder dies, however it dies. Answers how to release it.
 * @throws DatabaseInUse if another process holds it
 */
export function lockSqlite(path: string): () => void {
  makeOwnFile(`${path}.lock`);
  const lock = new BetterSqlite(`${path}.lock`, { timeout: 0 });
  try {
    lock.exec('begin exclusive');
  } catch (error) {
    lock.close();
    if (errorCode(error) !== 'SQLITE_BUSY') throw error;
    throw new DatabaseInUse(`The database file ${path} is in use by another Forumbus process.`);
  }
  return () => lock.close();
}

/**
 * Writes everything that is committed in a database to `target`, an empty file, as of one moment, while others write.
 *
 * VACUUM INTO reads in one transaction, so it takes as long as the database is large, whatever is written meanwhile, and
 * in WAL mode it holds nobody up. The backup interface of the library begins again whenever another connection has
 * written, unless all pages go in one step. That takes two thirds of the time (5 s instead of 8 s for 755 MB); but it copies
 * free pages too, and makes a file in WAL mode, which nobody can even read without making two more beside it. What VACUUM
 * may change, the numbers of rows that have no integer key, nothing here refers to. It leaves flushing to the caller.
 */
export function copySqlite(path: string, target: string): void {
  const source = new BetterSqlite(path, { readonly: true, timeout: PATIENCE_MS });
  try {
    source.prepare('vacuum into ?').run(target);
  } finally {
    source.close();
  }
}

/**
 * Brings what stands in a database's log, or half-way in its journal, into the file, and leaves the file alone without
 * companions. Its next user goes back to WAL mode.
 * @throws StartError if another program has the database open
 */
export function makeWhole(path: string): void {
  const database = new BetterSqlite(path, { timeout: PATIENCE_MS });
  try {
    database.pragma('journal_mode = delete');
  } catch (error) {
    if (errorCode(error) !== 'SQLITE_BUSY') throw error;
    throw new StartError(`The database file ${path} is in use by another program.`);
  } finally {
    database.close();
  }
}

/** The sentence for the operator, where there is one, about a database that cannot be opened. */
export function sqliteError(path: string, purpose: 'reading' | 'writing', error: unknown): unknown {
  switch (errorCode(error)) {
    case 'SQLITE_BUSY':
      return new StartError(`The database file ${path} is locked by another program.`);
    case 'SQLITE_NOTADB':
      return new StartError(`The file ${path} is not a SQLite database.`);
    case 'SQLITE_CANTOPEN':
    case 'SQLITE_IOERR_READ':
    case 'SQLITE_READONLY':
    case 'SQLITE_READONLY_DIRECTORY':
    case 'EACCES':
    case 'EROFS':
    case 'EEXIST':
    case 'EISDIR':
    case 'ENOTDIR':
    case 'EPERM':
      return new StartError(`The database file ${path} cannot be opened for ${purpose} (${errorCode(error)}).`);
    default: {
      if (isDamaged(error)) return new StartError(`The database file ${path} is damaged.`);
      const trouble = troubleOf(error);
      return trouble ? new StartError(`The database file ${path} cannot be used: ${trouble.detail}`) : error;
    }
  }
}
