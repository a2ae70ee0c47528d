import { isAbortedTransactionError } from 'kysely';

/** The engine's or the system's error code, such as `SQLITE_BUSY`, `23505` or `ECONNREFUSED`. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Whether a commit was refused, so that nothing was stored for certain: a constraint was violated, or a statement had failed. */
export function isRefusedCommit(error: unknown): boolean {
  return isAbortedTransactionError(error) || /^(SQLITE_CONSTRAINT|23|25P02)/.test(errorCode(error) ?? '');
}

/** Whether SQLite has found that a file is no sound database. */
export function isDamaged(error: unknown): boolean {
  return /^SQLITE_(CORRUPT|NOTADB)/.test(errorCode(error) ?? '');
}

// SQLite: busy for too long, a full or failing disk. PostgreSQL: connection lost (08), out of resources (53), shutting
// down or terminated by us (57), a lock that did not come (55P03), a session ended while idle in a write (25P03).
const UNAVAILABLE =
  /^(SQLITE_(BUSY|FULL|IOERR|READONLY|CANTOPEN)|08|53|57|55P03|25P03|ECONN|EPIPE|ETIMEDOUT|ENOTFOUND)/;
const UNAVAILABLE_MESSAGE =
  /timeout exceeded when trying to connect|Connection terminated|not queryable|Cannot use a pool after/;

/** Whether the database cannot be reached or written just now, so that the same request may succeed later. */
export function isUnavailable(error: unknown): boolean {
  return (
    UNAVAILABLE.test(errorCode(error) ?? '') || (error instanceof Error && UNAVAILABLE_MESSAGE.test(error.message))
  );
}
