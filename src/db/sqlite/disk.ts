import { statfs } from 'node:fs/promises';
import { errorCode } from '../errors.ts';

/** With less than this a disk that was full still is. Bytes. */
const ROOM = 1_048_576;
/** So long after the last write that failed for want of room, or for something else, one that fits says enough. Milliseconds. */
const REMEMBERED_MS = { full: 60_000, other: 5000 };

/**
 * Remembers that SQLite's disk has not taken a write. What a failed one had got of the disk stays with the log file, so that
 * smaller ones (a probe) fit in for a while; by themselves they would say that all is well.
 * @param folder where the file is
 */
export function createDiskMemory(folder: string) {
  let last: { at: number; error: unknown } | undefined;
  return {
    /** Takes notice of why a write has failed. */
    failed(error: unknown): void {
      if (/^SQLITE_(FULL|IOERR)/.test(errorCode(error) ?? '')) last = { at: performance.now(), error };
    },

    /** @throws what a write has lately failed with, if the disk has no more room than it had then or nobody can tell */
    async assertRoom(): Promise<void> {
      const age = performance.now() - (last?.at ?? Number.NEGATIVE_INFINITY);
      if (errorCode(last?.error) === 'SQLITE_FULL') {
        if (age > REMEMBERED_MS.full) return;
        const { bavail, bsize } = await statfs(folder);
        if (bavail * bsize < ROOM) throw last?.error;
      } else if (age <= REMEMBERED_MS.other) throw last?.error;
    },
  };
}
