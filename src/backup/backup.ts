import { closeSync, existsSync, openSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, isDamaged } from '../db/errors.ts';
import { openSqliteReadOnly } from '../db/sqlite/database.ts';
import { copySqlite } from '../db/sqlite/file.ts';
import { OWN_FILE } from '../db/sqlite/permissions.ts';
import { StartError } from '../errors.ts';
import { flush, removeDatabase, writeError } from './files.ts';
import { type Verified, verify } from './verify.ts';

/**
 * Copies a SQLite database, also while the service writes to it, and verifies the copy. The copy grows as
 * `<target>.partial` and is renamed after it is verified and flushed, so `<target>` is complete or absent.
 * @returns the content of the backup, and its size in bytes
 * @throws StartError with one sentence for the operator
 */
export async function backUp(database: string, target: string): Promise<Verified & { bytes: number }> {
  await openSqliteReadOnly(database).close();
  refuseToOverwrite(target);
  const partial = `${target}.partial`;
  createPartial(partial);
  try {
    copySqlite(database, partial);
    const verified = await verify(partial, target);
    flush(partial);
    refuseToOverwrite(target);
    const { size: bytes } = statSync(partial);
    renameSync(partial, target);
    flush(dirname(target));
    return { ...verified, bytes };
  } catch (error) {
    removeDatabase(partial);
    if (isDamaged(error)) throw new StartError(`The database file ${database} is damaged.`);
    throw writeError(target, error);
  }
}

function refuseToOverwrite(target: string): void {
  if (existsSync(target)) throw new StartError(`The file ${target} exists; a backup never overwrites a file.`);
}

/** Creates the empty file, for its owner only. It fails if another backup has created it. */
function createPartial(partial: string): void {
  try {
    closeSync(openSync(partial, 'wx', OWN_FILE));
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw writeError(partial, error);
    throw new StartError(
      `The file ${partial} exists: another backup is writing it, or an interrupted one left it: then delete it.`,
    );
  }
}
