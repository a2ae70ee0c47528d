import { type Clock, systemClock } from '../clock.ts';
import type { Logger } from '../logging.ts';
import type { Database } from './database.ts';
import { openPostgres } from './postgres.ts';
import { openSqlite } from './sqlite.ts';

/**
 * Opens the database that `url` names: `sqlite:<file>` or `postgres://…`.
 * @param leaseClock measures leases; without it, the system's clock on SQLite and the server's on PostgreSQL
 * @throws StartError with one sentence for the operator.
 */
export async function openDatabase(url: string, log: Logger, leaseClock?: Clock): Promise<Database> {
  if (url.startsWith('sqlite:')) return openSqlite(url.slice('sqlite:'.length), leaseClock ?? systemClock);
  return openPostgres(url, log, leaseClock);
}
