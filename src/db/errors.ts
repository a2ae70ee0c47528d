import { isA, memberText, textOf } from '../error-text.ts';
import { StartError } from '../errors.ts';

/** The error code of SQLite, PostgreSQL or the system, such as `SQLITE_BUSY`, `23505` or `ECONNREFUSED`. */
export function errorCode(error: unknown): string | undefined {
  return isA(error, Error) ? memberText(error, 'code') : undefined;
}

/**
 * Whether the database refused a commit (violated constraint, failed statement), so that it certainly stored nothing.
 */
export function isRefusedCommit(error: unknown): boolean {
  return /^(SQLITE_CONSTRAINT|23|25P02)/.test(errorCode(error) ?? '');
}

/** A commit was refused because an earlier statement of its transaction had failed. */
export class AbortedTransaction extends Error {
  override readonly name = 'AbortedTransaction';
  /** PostgreSQL's code for a transaction in that state (in_failed_sql_transaction). */
  readonly code = '25P02';

  constructor() {
    super('A statement of the transaction failed, so the transaction was rolled back.');
  }
}

/**
 * Whether nothing was stored for certain, though a commit failed: the engine refused it, or had no room for it. A commit
 * whose connection broke, or whose flush to disk failed, may be stored.
 */
export function isCertainlyNotStored(error: unknown): boolean {
  return isRefusedCommit(error) || /^(SQLITE_(FULL|BUSY|READONLY)|40|53)/.test(errorCode(error) ?? '');
}

/** A commit failed, and whether its transaction is stored is unknown. It has the message and the code of its `cause`. */
export class UnknownOutcome extends Error {
  override readonly name = 'UnknownOutcome';
  readonly code: string | undefined;

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.code = errorCode(cause);
  }
}

/** A newer version has migrated the database in a way that this process cannot work with. */
export class Overtaken extends StartError {
  /** @param names the migrations */
  constructor(names: string[]) {
    super(
      `A newer version of Forumbus has migrated the database (${names.join(', ')}), and this one cannot work with it.`,
    );
  }
}

/** Whether SQLite found that a file is corrupt or not a database. */
export function isDamaged(error: unknown): boolean {
  return /^SQLITE_(CORRUPT|NOTADB)/.test(errorCode(error) ?? '');
}

/** Whether SQLite found that its full-text index does not hold the words that were to be removed from it. */
export function isForeignWords(error: unknown): boolean {
  return errorCode(error) === 'SQLITE_CORRUPT_VTAB';
}

/**
 * Why the database is unavailable now. `detail` is one of the fixed sentences below. Messages of an engine or the
 * system may name hosts, users and files, so they go only to the log.
 */
export interface Trouble {
  code: 'DATABASE_UNREACHABLE' | 'DATABASE_NOT_WRITABLE';
  detail: string;
}

const unreachable = (detail: string): Trouble => ({ code: 'DATABASE_UNREACHABLE', detail });
const notWritable = (detail: string): Trouble => ({ code: 'DATABASE_NOT_WRITABLE', detail });

/** The database does not answer. */
export const UNANSWERED = unreachable('The database does not answer in time.');
/** This process is too old for it. */
const OVERTAKEN = unreachable('A newer version of Forumbus has migrated the database; this process stops.');
/** The database answers with an unexpected error. */
export const FAILING = unreachable('The database answers with an unexpected error; see the log.');

/**
 * By error code; the first match counts. Sources: SQLite's result codes, PostgreSQL's manual (appendix A), errno(3).
 */
const TROUBLES: [code: RegExp, trouble: Trouble][] = [
  [/^(SQLITE_FULL|53100|ENOSPC)$/, notWritable('The disk of the database is full.')],
  [/^SQLITE_READONLY_DBMOVED$/, notWritable('The database file has been moved or deleted.')],
  [/^(SQLITE_READONLY|25006$|EROFS$)/, notWritable('The database is read-only.')],
  [
    /^SQLITE_IOERR_(WRITE|FSYNC|DIR_FSYNC|TRUNCATE|SHM|BEGIN_ATOMIC|COMMIT_ATOMIC)/,
    notWritable('The disk of the database fails to store writes.'),
  ],
  [
    /^(SQLITE_BUSY|55P03$)/,
    notWritable('Another program, such as an import, has kept the database locked for too long.'),
  ],
  [/^(SQLITE_IOERR|SQLITE_CANTOPEN)/, unreachable('The database file cannot be read.')],
  [/^(EMFILE|ENFILE)$/, unreachable('The process can open no more files or connections.')],
  [/^(28|3D000$)/, unreachable('The database server refuses the login.')],
  [/^53/, unreachable('The database server has run out of connections or memory.')],
  [/^57P/, unreachable('The database server is starting or shutting down.')],
  [/^57/, unreachable('The database server cancelled the statement.')],
  [/^(08|25P03$|ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOST|ENET|EAI_)/, unreachable('The database cannot be reached.')],
];

/** Messages of the PostgreSQL client (pg) that come without a code. */
const CONNECTION_LOST =
  /Connection terminated|timeout exceeded when trying to connect|timeout expired|not queryable|Cannot use a pool after/;
const TIMED_OUT = /Query read timeout/;

/** The reason in an error why the database is unavailable; undefined for all other errors. */
export function troubleOf(error: unknown): Trouble | undefined {
  if (!isA(error, Error)) return undefined;
  if (isA(error, Overtaken)) return OVERTAKEN;
  const code = errorCode(error);
  if (code !== undefined) return TROUBLES.find(([pattern]) => pattern.test(code))?.[1];
  const text = memberText(error, 'message') ?? '';
  if (TIMED_OUT.test(text)) return UNANSWERED;
  return CONNECTION_LOST.test(text) ? unreachable('The database cannot be reached.') : undefined;
}

/** Whether the database cannot be reached or written now, so that a retry may succeed later. */
export function isUnavailable(error: unknown): boolean {
  return troubleOf(error) !== undefined;
}

/** The text of an error for health pages: without hosts, users or files of the database, and with URLs masked. */
export function publicMessage(error: unknown): string {
  return troubleOf(error)?.detail ?? textOf(error).replace(/\b([a-z][a-z0-9+.-]*:\/\/)\S+/gi, '$1***');
}
