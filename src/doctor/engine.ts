import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ReadOnlyDatabase } from '../db/database.ts';
import { errorCode, isDamaged } from '../db/errors.ts';
import { journalMode, openToOthers, serverVersion, sqliteFaults } from '../db/inspection.ts';
import { type Finding, inBytes, ok, problem, warning } from './finding.ts';

/** Five times what the service lets the log grow to before it brings it into the file. Bytes. */
const LARGE_LOG = 200_000_000;
/** Below the first the service will soon be able to store nothing, below the second it is time to make room. Bytes. */
const NO_ROOM = 100_000_000;
const LITTLE_ROOM = 500_000_000;

/** What is wrong with the place of a SQLite database; undefined if there is one that can be written. */
export function checkPlace(file: string): Finding | undefined {
  if (!existsSync(file)) {
    const advice = 'The first start makes it. If there should be one, correct DATABASE_URL, or npm run restore.';
    return warning('database', `There is no database at ${file}.`, advice);
  }
  for (const path of [file, dirname(file)]) {
    try {
      accessSync(path, constants.W_OK);
    } catch (error) {
      const advice = 'Give the file and its folder to the user that the service runs as.';
      return problem('database', `${path} cannot be written (${errorCode(error)}).`, advice);
    }
  }
  return undefined;
}

export async function checkSqlite(db: ReadOnlyDatabase, file: string): Promise<Finding[]> {
  const { size } = statSync(file);
  const database = ok('database', `${file} (${inBytes(size)}) can be read and written.`);
  const integrity = await checkIntegrity(db);
  // A damaged file may not even say how it keeps its journal.
  const open = openToOthers(file);
  const advice = 'Take that from them with chmod; the next start does it for the files that are its own.';
  const others = open ? [warning('permissions', `Others than its owner can read or replace ${open}.`, advice)] : [];
  const log = integrity.level === 'ok' ? [checkLog(file, await journalMode(db.read))] : [];
  return [database, ...others, integrity, ...log, checkDisk(file)];
}

async function checkIntegrity(db: ReadOnlyDatabase): Promise<Finding> {
  const advice = 'Stop the service and npm run restore a backup.';
  try {
    const faults = await sqliteFaults(db.read, false);
    return faults.length === 0
      ? ok('integrity', 'quick_check finds nothing wrong.')
      : problem('integrity', `quick_check says: ${faults.slice(0, 3).join('; ')}.`, advice);
  } catch (error) {
    if (!isDamaged(error)) throw error;
    return problem('integrity', 'The file is damaged.', advice);
  }
}

function checkLog(file: string, mode: string | undefined): Finding {
  // Nobody can change the mode while the service has the file open.
  if (mode !== 'wal') return ok('log', `The journal mode is ${mode}; the next start changes it to wal.`);
  const size = statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  const finding = `The write-ahead log takes ${inBytes(size)}.`;
  if (size <= LARGE_LOG) return ok('log', finding);
  return warning('log', finding, 'Another program has been reading for long: end it, and the log becomes small again.');
}

function checkDisk(file: string): Finding {
  const { bavail, bsize } = statfsSync(dirname(file));
  const free = bavail * bsize;
  const finding = `${inBytes(free)} are free beside the database.`;
  if (free < NO_ROOM) return problem('disk', finding, 'Make room: a full disk stops every write.');
  if (free < Math.max(LITTLE_ROOM, statSync(file).size)) {
    return warning('disk', finding, 'Make room soon: a backup or a restore needs as much as the database takes.');
  }
  return ok('disk', finding);
}

export async function checkServer(db: ReadOnlyDatabase): Promise<Finding> {
  return ok('database', `PostgreSQL ${await serverVersion(db.read)} answers.`);
}
