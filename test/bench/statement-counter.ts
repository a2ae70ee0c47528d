import { openSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { endWithParent } from './child.ts';

/*
 * Loaded into a service before its own code (`--import`): counts the statements that its drivers run, and the pages that
 * SQLite appends to its write-ahead log. Tells them whenever it is asked.
 */

/** Since the start of the service. */
export interface Counts {
  /** Without those that begin and end transactions. One that is sent for several works counts once. */
  statements: number;
  commits: number;
  /** Pages appended to the write-ahead log; 0 on PostgreSQL. */
  pages: number;
}

type Method = (this: never, ...parameters: unknown[]) => unknown;

/** Where the header of the wal-index has the number of pages of the log (SQLite file format, 2.1). */
const PAGES_AT = 16;
const BOUNDARY = /^\s*(begin|start|rollback|savepoint|release|end)\b/i;
const COMMIT = /^\s*commit\b/i;

const counts: Counts = { statements: 0, commits: 0, pages: 0 };
// The drivers of the service, which may be another checkout with libraries of its own.
const load = createRequire(process.argv[1] ?? import.meta.url);

countSqlite();
countPostgres();
process.on('message', () => process.send?.(counts));
endWithParent();

function note(text: string): boolean {
  const isCommit = COMMIT.test(text);
  if (isCommit) counts.commits += 1;
  else if (!BOUNDARY.test(text)) counts.statements += 1;
  return isCommit;
}

function countSqlite(): void {
  const BetterSqlite = load('better-sqlite3');
  const db = new BetterSqlite(':memory:');
  const statement = Object.getPrototypeOf(db.prepare('select 1'));
  db.close();
  for (const name of ['run', 'all', 'get', 'iterate']) {
    wrap(statement, name, (self: { source: string; database: { name: string } }) => {
      const isCommit = note(self.source);
      return isCommit ? () => notePages(self.database.name) : undefined;
    });
  }
}

/** The wal-index. Not closed before the end: that would release the locks that SQLite has on it. */
let index: number | undefined;
/** Pages that the log had at the last commit. */
let logged = 0;

function notePages(file: string): void {
  index ??= openSync(`${file}-shm`, 'r');
  const bytes = Buffer.alloc(4);
  readSync(index, bytes, 0, 4, PAGES_AT);
  const now = bytes.readUInt32LE();
  // After a checkpoint the log begins anew.
  counts.pages += now >= logged ? now - logged : now;
  logged = now;
}

function countPostgres(): void {
  const { Client } = load('pg');
  wrap(Client.prototype, 'query', (_self, query) => {
    note(typeof query === 'string' ? query : ((query as { text?: string }).text ?? ''));
    return undefined;
  });
}

/** Calls `before` at each call of a method, and after it what `before` answers. */
function wrap(
  prototype: Record<string, Method>,
  name: string,
  before: (self: never, first: unknown) => (() => void) | undefined,
): void {
  const original = prototype[name] as Method;
  prototype[name] = function (this: never, ...parameters: unknown[]) {
    const after = before(this, parameters[0]);
    const answer = original.apply(this, parameters as never);
    after?.();
    return answer;
  };
}
