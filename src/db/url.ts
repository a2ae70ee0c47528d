import { lstatSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { StartError } from '../errors.ts';
import { errorCode } from './errors.ts';

/** `sqlite:`, then perhaps `file:`, then perhaps an empty host or this one. */
const PREFIX = /^sqlite:(file:)?(\/\/(localhost(?=\/))?)?/;

/**
 * The absolute path, without symbolic links, of the file that a `sqlite:` URL names; undefined for PostgreSQL. After
 * `sqlite:` or `sqlite://` stands the file's path. With a slash at its beginning it is absolute, otherwise relative to
 * the working directory.
 * @throws StartError if it names no file
 */
export function sqliteFile(url: string): string | undefined {
  if (!url.startsWith('sqlite:')) return undefined;
  const refuse = (reason: string) => new StartError(`DATABASE_URL=${url} ${reason}.`);
  const path = url.replace(PREFIX, '');
  if (/^\/*(:|%3A)memory(:|%3A)/i.test(path) || /[?&]mode=memory/.test(path)) {
    throw refuse('names a database in memory, which would be gone with the process: name a file');
  }
  if (/[?#]/.test(path))
    throw refuse('has parameters, which it takes none of; in a name, ? is written %3F and # is %23');
  if (/^~(\/|$)/.test(path)) throw refuse('begins with ~, which only a shell expands: write the folder out');
  const decoded = decode(path);
  if (decoded === undefined) throw refuse('has a % that is no percent-encoding; in a name, it is written %25');
  if (/(^|\/)\.{0,2}$|\0/.test(decoded)) throw refuse('names no file');
  const file = withoutLinks(resolve(decoded));
  if (file === undefined) throw refuse('leads to a symbolic link whose target does not exist: name the file itself');
  return file;
}

/**
 * The path without symbolic links, so that a file has one name: its lock stands beside it. What does not exist yet keeps
 * its name.
 * @returns undefined if a link leads nowhere
 */
function withoutLinks(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch (error) {
    // Opening the file says what else is wrong with it.
    if (errorCode(error) !== 'ENOENT' || dirname(path) === path) return path;
    if (lstatSync(path, { throwIfNoEntry: false })) return undefined;
    const folder = withoutLinks(dirname(path));
    return folder && join(folder, basename(path));
  }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
