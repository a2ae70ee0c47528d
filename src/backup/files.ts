import { closeSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { errorCode } from '../db/errors.ts';
import { COMPANIONS } from '../db/sqlite/permissions.ts';
import { StartError } from '../errors.ts';

/** Flushes a file, or the entries of a folder, to disk (fsync), so that they survive a power cut. */
export function flush(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Removes an unused database and its companion files. */
export function removeDatabase(path: string): void {
  for (const suffix of ['', ...COMPANIONS]) rmSync(path + suffix, { force: true });
}

/** Maps an error of writing a file to a StartError with one sentence; answers an unknown error unchanged. */
export function writeError(path: string, error: unknown): unknown {
  const code = errorCode(error) ?? '';
  if (/^(SQLITE_FULL|ENOSPC|EDQUOT)$/.test(code)) return new StartError(`The disk is full: ${path} cannot be written.`);
  if (code === 'ENOENT') return new StartError(`The folder of ${path} does not exist.`);
  if (/^(EACCES|EPERM|EROFS|ENOTDIR|EISDIR|EIO|SQLITE_(CANTOPEN|READONLY|IOERR))/.test(code)) {
    return new StartError(`The file ${path} cannot be written (${code}).`);
  }
  return error;
}
