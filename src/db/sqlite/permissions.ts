import { accessSync, chmodSync, closeSync, constants, existsSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { StartError } from '../../errors.ts';
import { callOf } from '../../invocation.ts';
import { makeFolder, OWN_FOLDER } from '../../make-folder.ts';
import { orphanLog } from '../inspection.ts';

/* Who may read and write a SQLite database: its owner, whatever the umask says. */

/**
 * Suffixes of the files that SQLite keeps beside a database while it is open, and after a crash. They may hold
 * committed data that the database file lacks.
 */
export const COMPANIONS = ['-wal', '-shm', '-journal'] as const;

/** The mode of a file for its owner only. */
export const OWN_FILE = 0o600;
/** What others than the owner may do with a file. */
const OTHERS = 0o077;

/** Makes an empty file for its owner only, unless there is one. SQLite takes that mode over for what it puts beside it. */
export function makeOwnFile(path: string): void {
  closeSync(openSync(path, 'a', OWN_FILE));
}

/**
 * Makes a database's file and folder, or checks that existing ones can be written. SQLite would open a file that it may
 * not write, and fail at the first write.
 * @throws SystemError if it cannot be written
 * @throws StartError if it is gone, and its log is still there
 */
export function prepareFile(path: string): void {
  const log = orphanLog(path);
  if (log) {
    const remedy = `put the file back, or restore a backup with ${callOf('restore', '--replace')}`;
    throw new StartError(`The database file ${path} is gone, and ${log} holds writes of it: ${remedy}.`);
  }
  makeFolder(dirname(path), OWN_FOLDER);
  makeOwnFile(path);
  for (const suffix of ['', ...COMPANIONS, '.lock']) {
    const file = path + suffix;
    if (existsSync(file)) accessSync(file, constants.R_OK | constants.W_OK);
  }
}

/** Takes from others what they may do with a database, as {@link tighten}. Only for what certainly is one. */
export function tightenDatabase(path: string): void {
  for (const suffix of ['', ...COMPANIONS, '.lock']) if (existsSync(path + suffix)) tighten(path + suffix);
}

/** Takes from others what they may do with a file, if it is ours. */
export function tighten(file: string): void {
  const { mode, uid } = statSync(file);
  const isOurs = process.getuid?.() === 0 || process.getuid?.() === uid;
  if (isOurs && (mode & OTHERS) !== 0) chmodSync(file, mode & ~OTHERS & 0o777);
}
