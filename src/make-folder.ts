import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** The mode of a folder for its owner only. */
export const OWN_FOLDER = 0o700;

/**
 * Makes a folder, and those above it. One by one: where none can be made (in /proc), Node's `recursive` tries for ever.
 * @param mode of those that it makes
 */
export function makeFolder(path: string, mode?: number): void {
  if (isFolder(path)) return;
  makeFolder(dirname(path), mode);
  try {
    mkdirSync(path, mode);
  } catch (error) {
    // Another process may have made it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !isFolder(path)) throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
