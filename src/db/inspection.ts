import { sql } from 'kysely';
import type { Reader } from './database.ts';

/* What an engine says of itself. */

/**
 * What SQLite finds wrong with the file, one sentence each. It reads everything.
 * @param thorough also whether indexes and tables agree, which takes several times as long
 */
export async function sqliteFaults(read: Reader, thorough: boolean): Promise<string[]> {
  const check = sql.raw<Record<string, string>>(`pragma ${thorough ? 'integrity_check' : 'quick_check'}`);
  const { rows } = await check.execute(read.query);
  return rows.flatMap(row => Object.values(row)).filter(finding => finding !== 'ok');
}

/** How many rows of a SQLite database refer to rows that are not there. */
export async function brokenReferences(read: Reader): Promise<number> {
  return (await sql`pragma foreign_key_check`.execute(read.query)).rows.length;
}

/** Of a SQLite database: `wal` where Forumbus has opened it. */
export async function journalMode(read: Reader): Promise<string | undefined> {
  const { rows } = await sql<{ journal_mode: string }>`pragma journal_mode`.execute(read.query);
  return rows[0]?.journal_mode;
}

/** Of a PostgreSQL server, such as `18.1`. */
export async function serverVersion(read: Reader): Promise<string | undefined> {
  const { rows } = await sql<{ server_version: string }>`show server_version`.execute(read.query);
  return rows[0]?.server_version;
}
