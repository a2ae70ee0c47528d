import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { sql } from 'kysely';
import type { Reader } from './database.ts';

/* Diagnostics that an engine reports about itself. */

/**
 * Checks a SQLite file; resolves with one sentence per fault. Reads the whole file.
 * @param thorough also compares indexes with tables (`integrity_check`), which takes several times as long
 */
export async function sqliteFaults(read: Reader, thorough: boolean): Promise<string[]> {
  const check = sql.raw<Record<string, string>>(`pragma ${thorough ? 'integrity_check' : 'quick_check'}`);
  const { rows } = await check.execute(read.query);
  return rows.flatMap(row => Object.values(row)).filter(finding => finding !== 'ok');
}

/** The number of rows in a SQLite database that refer to missing rows. */
export async function brokenReferences(read: Reader): Promise<number> {
  return (await sql`pragma foreign_key_check`.execute(read.query)).rows.length;
}

/** The journal mode of a SQLite database: `wal` once Forumbus has opened it. */
export async function journalMode(read: Reader): Promise<string | undefined> {
  const { rows } = await sql<{ journal_mode: string }>`pragma journal_mode`.execute(read.query);
  return rows[0]?.journal_mode;
}

/** The version of a PostgreSQL server, such as `18.1`. */
export async function serverVersion(read: Reader): Promise<string | undefined> {
  const { rows } = await sql<{ server_version: string }>`show server_version`.execute(read.query);
  return rows[0]?.server_version;
}

/** The path of the log of a SQLite database that holds data which its file lacks; undefined if there is none. */
export function logBeside(path: string): string | undefined {
  const logs = [`${path}-wal`, `${path}-journal`];
  return logs.find(log => (statSync(log, { throwIfNoEntry: false })?.size ?? 0) > 0);
}

/** The path of a log whose database is gone. A new file in the place of the database would make SQLite drop it. */
export function orphanLog(path: string): string | undefined {
  return existsSync(path) ? undefined : logBeside(path);
}

/** The path of a file that others than the owner may read or replace; undefined if there is none. */
export function openToOthers(path: string): string | undefined {
  // Windows has no such modes.
  if (process.platform === 'win32') return undefined;
  const folder = dirname(path);
  if ((statSync(path).mode & 0o077) !== 0) return path;
  const { mode } = statSync(folder);
  // In a folder like /tmp everybody may make files, and nobody touch those of others.
  return (mode & 0o022) !== 0 && (mode & 0o1000) === 0 ? folder : undefined;
}
