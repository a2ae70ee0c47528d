import { existsSync } from 'node:fs';
import { compactSqlite, sqliteError } from '../db/sqlite/file.ts';
import { StartError } from '../errors.ts';

/**
 * Writes a SQLite database anew while no service runs. Then its file keeps nothing that was deleted or erased.
 * @returns its size before and after. Bytes
 * @throws StartError if there is no database, a process has it open, or it cannot be written
 */
export function compact(path: string): { bytes_before: number; bytes_after: number } {
  if (!existsSync(path)) throw new StartError(`There is no database at ${path}.`);
  try {
    return compactSqlite(path);
  } catch (error) {
    throw sqliteError(path, 'writing', error);
  }
}
