import { closeSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { errorCode } from '../db/errors.ts';
import { COMPANIONS } from '../db/sqlite/permissions.ts';
import { StartError } from '../errors.ts';

/** Waits until what a file holds, or which names a folder has, would survive a power cut. */
export function flush(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Removes a database that is not used, and what belongs to it. */
export function removeDatabase(path: string): void {
  for (const suffix of ['', ...COMPANIONS]) rmSync(path + suffix, { force: true });
}

/** The sentence for the operator, where there is one, about a file that cannot be written. */
export function writeError(path: string, error: unknown): unknown {
  const code = errorCode(error) ?? '';
  if (/^(SQLITE_FULL|ENOSPC|EDQUOT)$/.test(code)) return new StartError(`There is no room for ${path}.`);
  if (code === 'ENOENT') return new StartError(`The folder of ${path} does not exist.`);
  if (/^(EACCES|EPERM|EROFS|ENOTDIR|EISDIR|EIO|SQLITE_(CANTOPEN|READONLY|IOERR))/.test(code)) {
    return new StartError(`The file ${path} cannot be written (${code}).`);
  }
  return error;
}
