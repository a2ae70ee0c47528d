import type { Clock } from '../clock.ts';
import type { Logger } from '../logging.ts';
import { type Database, type ReadOnlyDatabase, type Timings, untimed } from './database.ts';
import { openToOthers } from './inspection.ts';
import { openPostgres, openPostgresReadOnly } from './postgres/database.ts';
import { openSqlite, openSqliteReadOnly } from './sqlite/database.ts';
import { DatabaseInUse } from './sqlite/file.ts';
import { sqliteFile } from './url.ts';

/**
 * Opens the database at `url`: `sqlite:<file>` or `postgres://…`.
 * @param leaseClock measures leases; defaults to a monotonic clock on SQLite and the server's on PostgreSQL
 * @param timings receives the durations of reads and writes
 * @throws StartError with one sentence for the operator
 */
export async function openDatabase(
  url: string,
  log: Logger,
  leaseClock?: Clock,
  timings: Timings = untimed,
): Promise<Database> {
  const file = sqliteFile(url);
  if (file === undefined) return openPostgres(url, log, leaseClock, timings);
  const database = openSqlite(file, leaseClock, timings);
  const open = openToOthers(file);
  if (open)
    log.warn({ path: open }, 'others than the owner of the database can read or replace it: take that from them');
  return database;
}

/**
 * Opens a database for a few writes of a command, even while the service runs on it. Applies missing migrations unless
 * another process holds the database, since that process has applied them.
 * @throws StartError with one sentence for the operator
 */
export async function openAlongside(url: string, log: Logger): Promise<Database> {
  try {
    const database = await openDatabase(url, log);
    await database.migrate();
    return database;
  } catch (error) {
    const file = sqliteFile(url);
    if (!(error instanceof DatabaseInUse) || file === undefined) throw error;
    return openSqlite(file, undefined, untimed, { lock: false });
  }
}

/**
 * Opens a database for reads only, even while the service runs on it.
 * @throws StartError with one sentence for the operator, also if the database does not exist
 */
export async function openReadOnly(url: string, log: Logger): Promise<ReadOnlyDatabase> {
  const file = sqliteFile(url);
  return file === undefined ? openPostgresReadOnly(url, log) : openSqliteReadOnly(file);
}
