import type { Clock } from '../clock.ts';
import type { Logger } from '../logging.ts';
import { type Database, type ReadOnlyDatabase, type Timings, untimed } from './database.ts';
import { openToOthers } from './inspection.ts';
import { openPostgres, openPostgresReadOnly } from './postgres/database.ts';
import { openSqlite, openSqliteReadOnly } from './sqlite/database.ts';
import { DatabaseInUse } from './sqlite/file.ts';
import { sqliteFile } from './url.ts';

/**
 * Opens the database that `url` names: `sqlite:<file>` or `postgres://…`.
 * @param leaseClock measures leases; without it, a monotonic one on SQLite and the server's on PostgreSQL
 * @param timings is told how long everything takes
 * @throws StartError with one sentence for the operator.
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
 * Opens it for a few writes, also beside the process that has it. That one has brought the schema up to date; where there
 * is none, this does.
 * @throws StartError with one sentence for the operator.
 */
export async function openBeside(url: string, log: Logger): Promise<Database> {
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
 * Opens it to look only, beside the processes that use it.
 * @throws StartError with one sentence for the operator, also if there is no database yet
 */
export async function openReadOnly(url: string, log: Logger): Promise<ReadOnlyDatabase> {
  const file = sqliteFile(url);
  return file === undefined ? openPostgresReadOnly(url, log) : openSqliteReadOnly(file);
}
