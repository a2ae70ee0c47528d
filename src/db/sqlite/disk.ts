import { statfs } from 'node:fs/promises';
import { errorCode } from '../errors.ts';

/** A disk that was full counts as full until it has this much free space. Bytes. */
const FREE_BYTES = 1_048_576;
/** How long a failed write counts, by its cause: a full disk or another I/O error. Milliseconds. */
const FAILURE_AGE_MS = { full: 60_000, other: 5000 };

/**
 * Remembers failed writes of SQLite's disk for the health probe. The log file keeps the space that a failed write had
 * obtained. So a small write (the probe) may fit although larger ones fail.
 * @param folder folder of the database file
 */
export function createDiskCheck(folder: string) {
  let last: { at: number; error: unknown } | undefined;
  return {
    /** Records the error of a failed write, if the disk caused it. */
    recordFailure(error: unknown): void {
      if (/^SQLITE_(FULL|IOERR)/.test(errorCode(error) ?? '')) last = { at: performance.now(), error };
    },

    /** @throws the error of a recent failed write, unless the disk was full and has free space again */
    async assertRoom(): Promise<void> {
      const age = performance.now() - (last?.at ?? Number.NEGATIVE_INFINITY);
      if (errorCode(last?.error) === 'SQLITE_FULL') {
        if (age > FAILURE_AGE_MS.full) return;
        const { bavail, bsize } = await statfs(folder);
        if (bavail * bsize < FREE_BYTES) throw last?.error;
      } else if (age <= FAILURE_AGE_MS.other) throw last?.error;
    },
  };
}
