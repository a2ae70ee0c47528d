import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ReadOnlyDatabase } from '../db/database.ts';
import { errorCode, isDamaged } from '../db/errors.ts';
import { journalMode, openToOthers, orphanLog, serverVersion, sqliteFaults } from '../db/inspection.ts';
import { callOf } from '../invocation.ts';
import { type Finding, inBytes, ok, problem, warning } from './finding.ts';

/** Five times the size at which the service checkpoints the write-ahead log. Bytes. */
const LARGE_LOG_BYTES = 200_000_000;
/** With less free space, writes will soon fail. Bytes. */
const MIN_FREE_BYTES = 100_000_000;
/** With less free space, it is time to make room. Bytes. */
const LOW_FREE_BYTES = 500_000_000;

/** Checks that a SQLite database exists and is writable. Answers undefined if so. */
export function checkDatabaseFile(file: string): Finding | undefined {
  const log = orphanLog(file);
  if (log) {
    const advice = `Put the file back, or restore a backup with ${callOf('restore', '--replace')}.`;
    return problem('database', `The database file ${file} is gone, and ${log} holds writes of it.`, advice);
  }
  if (!existsSync(file)) {
    const advice = `The first start creates it. If one should exist, correct DATABASE_URL or restore a backup with ${callOf('restore')}.`;
    return warning('database', `There is no database at ${file}.`, advice);
  }
  for (const path of [file, dirname(file)]) {
    try {
      accessSync(path, constants.W_OK);
    } catch (error) {
      const advice = 'Make the file and its folder writable for the user of the service.';
      return problem('database', `${path} cannot be written (${errorCode(error)}).`, advice);
    }
  }
  return undefined;
}

/** Checks the integrity, the write-ahead log and the disk of a SQLite database. */
export async function checkSqlite(db: ReadOnlyDatabase, file: string): Promise<Finding[]> {
  const { size } = statSync(file);
  const database = ok('database', `${file} (${inBytes(size)}) can be read and written.`);
  const integrity = await checkIntegrity(db);
  const open = openToOthers(file);
  const advice = 'Take that right away with chmod; the next start does it for the files of its own user.';
  const others = open
    ? [warning('permissions', `Other users than the owner can read or replace ${open}.`, advice)]
    : [];
  // A damaged file may not even answer its journal mode.
  const log = integrity.level === 'ok' ? [checkLog(file, await journalMode(db.read))] : [];
  return [database, ...others, integrity, ...log, checkDisk(file)];
}

async function checkIntegrity(db: ReadOnlyDatabase): Promise<Finding> {
  const advice = `Stop the service and restore a backup with ${callOf('restore')}.`;
  try {
    const faults = await sqliteFaults(db.read, false);
    return faults.length === 0
      ? ok('integrity', 'quick_check found no fault.')
      : problem('integrity', `quick_check reports: ${faults.slice(0, 3).join('; ')}.`, advice);
  } catch (error) {
    if (!isDamaged(error)) throw error;
    return problem('integrity', 'The file is damaged.', advice);
  }
}

function checkLog(file: string, mode: string | undefined): Finding {
  // The mode cannot change while the service has the file open, so it does not run now.
  if (mode !== 'wal') return ok('log', `The journal mode is ${mode}; the next start changes it to wal.`);
  const size = statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  const finding = `The write-ahead log takes ${inBytes(size)}.`;
  if (size <= LARGE_LOG_BYTES) return ok('log', finding);
  return warning('log', finding, 'End the program that keeps a read transaction open; then the log shrinks.');
}

function checkDisk(file: string): Finding {
  const { bavail, bsize } = statfsSync(dirname(file));
  const free = bavail * bsize;
  const finding = `${inBytes(free)} are free on the disk of the database.`;
  if (free < MIN_FREE_BYTES) return problem('disk', finding, 'Make room now: on a full disk every write fails.');
  if (free < Math.max(LOW_FREE_BYTES, statSync(file).size)) {
    return warning('disk', finding, 'Make room soon: a backup or a restore needs as much space as the database.');
  }
  return ok('disk', finding);
}

/** Checks that a PostgreSQL server answers a query. */
export async function checkServer(db: ReadOnlyDatabase): Promise<Finding> {
  return ok('database', `PostgreSQL ${await serverVersion(db.read)} answers.`);
}
