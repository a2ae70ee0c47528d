import { chmodSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { makeFolder, OWN_FOLDER } from '../make-folder.ts';
import { UsageError } from './command.ts';

/** What has not changed for longer is of no use any more. Milliseconds. */
const OLD_MS = 30 * 86_400_000;

/** The folder of a user's own state: database, spooled requests, the service in the background. Only its user may read it. */
export class StateFolder {
  readonly #env: Record<string, string | undefined>;

  constructor(env: Record<string, string | undefined>) {
    this.#env = env;
  }

  /** @throws UsageError if nothing says where it is */
  get path(): string {
    return join(parentOf(this.#env), 'forumbus');
  }

  /** The path of a file in the folder, which exists afterwards. */
  file(...names: string[]): string {
    const folder = join(this.path, ...names.slice(0, -1));
    makeFolder(folder, OWN_FOLDER);
    chmodSync(this.path, OWN_FOLDER);
    return join(folder, names.at(-1) ?? '');
  }

  /** Replaces a file as a whole: a reader never sees half of it. */
  write(name: string, value: unknown): void {
    const path = this.file(...name.split('/'));
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(value), { mode: 0o600 });
    renameSync(draft, path);
  }

  /** The content of a file; undefined if it is missing or damaged. */
  read<T>(name: string): T | undefined {
    try {
      return JSON.parse(readFileSync(join(this.path, name), 'utf8')) as T;
    } catch {
      return undefined;
    }
  }

  /** Removes the old files of a folder inside. */
  clean(folder: string): void {
    for (const name of readdirSync(join(this.path, folder))) {
      const path = join(this.path, folder, name);
      const changed = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
      if (Date.now() - changed > OLD_MS) rmSync(path, { force: true });
    }
  }
}

/** XDG Base Directory Specification; on Windows the local application data. */
function parentOf({ XDG_STATE_HOME, LOCALAPPDATA, HOME }: Record<string, string | undefined>): string {
  if (XDG_STATE_HOME?.startsWith('/')) return XDG_STATE_HOME;
  if (process.platform === 'win32' && LOCALAPPDATA) return LOCALAPPDATA;
  return join(HOME || userHome(), '.local', 'state');
}

/** The home folder where HOME does not name it. @throws UsageError if the user has none */
export function userHome(): string {
  try {
    return homedir();
  } catch {
    throw new UsageError('There is no home folder; set HOME or XDG_STATE_HOME.');
  }
}
