import { accessSync, constants, copyFileSync, existsSync, linkSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { toTimestamp } from '../clock.ts';
import { errorCode, isDamaged } from '../db/errors.ts';
import { lockSqlite, makeWhole, sqliteError } from '../db/sqlite/file.ts';
import { COMPANIONS, makeOwnFile, makeOwnFolder, tighten } from '../db/sqlite/permissions.ts';
import { StartError } from '../errors.ts';
import { flush, removeDatabase, writeError } from './files.ts';
import { type Verified, verify } from './verify.ts';

/** What a restore has done. */
export interface Restored extends Verified {
  /** Size of the database. */
  bytes: number;
  /** Where the database is now that was in the place; null if there was none. */
  replaced: string | null;
}

/**
 * Puts a copy of a backup in the place of a SQLite database that no service uses. The copy is complete, verified and on
 * disk before anything else is touched, and takes the place in one step: whenever this ends, however it ends, there is the
 * old database or the new one.
 * @param options.replace puts the database aside that is there, under a name with `options.now` (epoch milliseconds)
 * @throws StartError with one sentence for the operator; then the old database is in its place
 */
export async function restore(
  backup: string,
  database: string,
  { replace, now }: { replace: boolean; now: number },
): Promise<Restored> {
  refuseUnlessWhole(backup);
  const unlock = lock(database);
  // A file of this name was left by a restore that died, since nobody else writes it under the lock: it is overwritten.
  const staged = `${database}.restoring`;
  try {
    const occupied = ['', ...COMPANIONS].some(suffix => existsSync(database + suffix));
    if (occupied && !replace) {
      throw new StartError(`There is a database at ${database}; --replace puts it aside and restores.`);
    }
    copyOwn(backup, staged);
    flush(staged);
    const verified = await verify(staged, backup);
    // A backup that another program has made may be in WAL mode, and looking at it leaves (empty) companions.
    for (const suffix of COMPANIONS) rmSync(staged + suffix, { force: true });
    const replaced = occupied ? putAside(database, now) : null;
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

/** Copies a backup for its new owner's eyes only: the copy would have the mode of the original. */
function copyOwn(backup: string, staged: string): void {
  rmSync(staged, { force: true });
  makeOwnFile(staged);
  copyFileSync(backup, staged);
  tighten(staged);
}

/** @throws StartError if it cannot be read, or is a database in use: without its log it is not whole */
function refuseUnlessWhole(backup: string): void {
  try {
    if (!statSync(backup).isFile()) throw new StartError(`There is no file at ${backup}.`);
    accessSync(backup, constants.R_OK);
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(`The backup ${backup} cannot be read (${errorCode(error)}).`);
  }
  for (const suffix of ['-wal', '-journal']) {
    if ((statSync(backup + suffix, { throwIfNoEntry: false })?.size ?? 0) === 0) continue;
    throw new StartError(`The file ${backup} is no backup but a database in use: ${backup}${suffix} belongs to it.`);
  }
}

/** @throws StartError if a service uses the database */
function lock(database: string): () => void {
  try {
    makeOwnFolder(dirname(database));
    return lockSqlite(database);
  } catch (error) {
    throw sqliteError(database, 'writing', error);
  }
}

/**
 * Gives a database a second name, which is the only one it has when another has taken its place. So there is no moment
 * without a database, which a start would take for a first one. What its log holds is brought into the file before, since
 * two files cannot be exchanged in one step, and a log that is left behind would be played into the new database.
 * @throws StartError if another program has it open
 */
function putAside(database: string, now: number): string {
  if (existsSync(database)) {
    try {
      makeWhole(database);
    } catch (error) {
      // Then it can be used by nobody as it is; somebody may still save something from it and its log.
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
