import { accessSync, constants, copyFileSync, existsSync, linkSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { toTimestamp } from '../clock.ts';
import { errorCode, isDamaged } from '../db/errors.ts';
import { logBeside } from '../db/inspection.ts';
import { lockSqlite, mergeCompanions, sqliteError } from '../db/sqlite/file.ts';
import { COMPANIONS, makeOwnFile, tighten } from '../db/sqlite/permissions.ts';
import { StartError } from '../errors.ts';
import { makeFolder, OWN_FOLDER } from '../make-folder.ts';
import { flush, removeDatabase, writeError } from './files.ts';
import { type Verified, verify } from './verify.ts';

/** The result of a restore. */
export interface Restored extends Verified {
  /** Size of the restored database. */
  bytes: number;
  /** New path of the old database; null if there was none. */
  replaced: string | null;
}

/**
 * Replaces a SQLite database that no service uses by a copy of a backup. The copy is verified and flushed first, then
 * renamed in one step. An interrupted restore leaves the old database or the new one.
 * @param options.replace sets an existing database aside, under a name with `options.now` (epoch milliseconds)
 * @throws StartError with one sentence for the operator; the old database is then unchanged
 */
export async function restore(
  backup: string,
  database: string,
  { replace, now }: { replace: boolean; now: number },
): Promise<Restored> {
  assertComplete(backup);
  const unlock = lock(database);
  // Only a holder of the lock writes this file: an existing one comes from an interrupted restore and is overwritten.
  const staged = `${database}.restoring`;
  try {
    const exists = ['', ...COMPANIONS].some(suffix => existsSync(database + suffix));
    if (exists && !replace) {
      throw new StartError(`There is a database at ${database}; add --replace to set it aside and restore.`);
    }
    copyOwn(backup, staged);
    flush(staged);
    const verified = await verify(staged, backup);
    // A backup made by another program may be in WAL mode; then verifying it leaves empty companion files.
    for (const suffix of COMPANIONS) rmSync(staged + suffix, { force: true });
    const replaced = exists ? setAside(database, now) : null;
    renameSync(staged, database);
    flush(dirname(database));
    return { ...verified, bytes: statSync(database).size, replaced };
  } catch (error) {
    throw writeError(database, error);
  } finally {
    removeDatabase(staged);
    unlock();
  }
}

/** Copies a backup for its owner only: the copy would otherwise have the mode of the original. */
function copyOwn(backup: string, staged: string): void {
  rmSync(staged, { force: true });
  makeOwnFile(staged);
  copyFileSync(backup, staged);
  tighten(staged);
}

/** @throws StartError if the backup cannot be read, or is a database in use, which is incomplete without its log */
function assertComplete(backup: string): void {
  try {
    if (!statSync(backup).isFile()) throw new StartError(`There is no file at ${backup}.`);
    accessSync(backup, constants.R_OK);
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(`The backup ${backup} cannot be read (${errorCode(error)}).`);
  }
  const log = logBeside(backup);
  if (log) throw new StartError(`The file ${backup} is not a backup but a database in use: ${log} belongs to it.`);
}

/** @throws StartError if a service uses the database */
function lock(database: string): () => void {
  try {
    makeFolder(dirname(database), OWN_FOLDER);
    return lockSqlite(database);
  } catch (error) {
    throw sqliteError(database, 'writing', error);
  }
}

/**
 * Links a database under a second name, which it keeps when the new one is renamed over it. So a database exists at
 * every moment; without one, a start would create an empty one. Its log is checkpointed first: SQLite would replay a
 * log that is left behind into the new database.
 * @returns the second name
 * @throws StartError if another program has the database open
 */
function setAside(database: string, now: number): string {
  if (existsSync(database)) {
    try {
      mergeCompanions(database);
    } catch (error) {
      // A damaged database keeps its log, from which data may still be recovered.
      if (!isDamaged(error)) throw error;
    }
  }
  const aside = `${database}.${toTimestamp(now).replaceAll(/[-:.]/g, '')}.replaced`;
  for (const suffix of ['', ...COMPANIONS]) {
    if (!existsSync(database + suffix)) continue;
    tighten(database + suffix);
    linkSync(database + suffix, aside + suffix);
  }
  flush(dirname(database));
  for (const suffix of COMPANIONS) rmSync(database + suffix, { force: true });
  return aside;
}
