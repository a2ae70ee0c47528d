import { statSync } from 'node:fs';
import BetterSqlite from 'better-sqlite3';
import { StartError } from '../../errors.ts';
import { errorCode, isDamaged, troubleOf } from '../errors.ts';
import { makeOwnFile } from './permissions.ts';

/* A SQLite database as a file: its lock, its copy while others write, its companion files. */

/** How long an operation waits for another program's transaction. Milliseconds. */
const BUSY_TIMEOUT_MS = 5000;

/** Another Forumbus process holds the lock of the database. */
export class DatabaseInUse extends StartError {}

/**
 * Takes the lock of a Forumbus process on its database: an open exclusive transaction in an empty database
 * `<path>.lock`. The kernel drops the lock when its holder dies.
 * @returns releases the lock
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
 * Copies the committed data of a database, as of one moment, to `target`, an empty file, while others write. The caller
 * flushes the copy to disk.
 *
 * VACUUM INTO reads in one transaction: concurrent writes neither prolong it nor, in WAL mode, wait for it. The backup
 * API restarts after each write of another connection, unless it copies all pages in one step. That is faster (5 s
 * instead of 8 s for 755 MB), but it copies free pages too. Its copy is in WAL mode, so even readers create two files
 * beside it. VACUUM may renumber rows without an integer key; no table refers to such numbers.
 */
export function copySqlite(path: string, target: string): void {
  const source = new BetterSqlite(path, { readonly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    source.prepare('vacuum into ?').run(target);
  } finally {
    source.close();
  }
}

/**
 * Merges the companion files into the database file, and removes them: checkpoints the log, rolls back a hot journal.
 * The file leaves WAL mode until a Forumbus process opens it again.
 * @throws StartError if another program has the database open
 */
export function mergeCompanions(path: string): void {
  const database = new BetterSqlite(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    database.pragma('journal_mode = delete');
  } catch (error) {
    if (errorCode(error) !== 'SQLITE_BUSY') throw error;
    throw new StartError(`The database file ${path} is in use by another program.`);
  } finally {
    database.close();
  }
}

/**
 * Writes the whole file anew, without what was deleted. It merges the search indexes, which keep words of deleted rows
 * until then. Then it vacuums, and empties the log. It needs as much free space as the file has, twice.
 * @returns its size before and after, its log included. Bytes
 * @throws StartError if another process has the database open
 */
export function compactSqlite(path: string): { bytes_before: number; bytes_after: number } {
  const release = lockSqlite(path);
  try {
    const size = () => [path, `${path}-wal`].reduce((sum, file) => sum + (statSync(file, NONE)?.size ?? 0), 0);
    const bytes_before = size();
    const database = new BetterSqlite(path, { timeout: BUSY_TIMEOUT_MS });
    try {
      // Pages that become free are overwritten, and new ones begin empty.
      database.pragma('secure_delete = on');
      const isIndex = `select name from sqlite_master where type = 'table' and sql like 'create virtual table % using fts5(%'`;
      for (const name of database.prepare(isIndex).pluck().all()) {
        database.exec(`insert into "${name}" ("${name}") values ('optimize')`);
      }
      database.exec('vacuum');
      database.pragma('wal_checkpoint(truncate)');
      database.pragma('journal_mode = delete');
    } catch (error) {
      if (errorCode(error) !== 'SQLITE_BUSY') throw error;
      throw new StartError(`The database file ${path} is in use by another program.`);
    } finally {
      database.close();
    }
    return { bytes_before, bytes_after: size() };
  } finally {
    release();
  }
}

const NONE = { throwIfNoEntry: false } as const;

/**
 * Turns an error of opening a file into a StartError with a sentence for the operator; returns unknown errors as is.
 */
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
    case 'ELOOP':
    case 'ENAMETOOLONG':
    case 'ENOENT':
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
