import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { MalformedHooks } from '../hooks/merge.ts';
import { makeFolder } from '../make-folder.ts';
import { type Context, UsageError } from './command.ts';

/** How the text of a file changes. */
export interface Edit {
  /**
   * @param text null if there is no file
   * @param before the text before the first install, null if there was no file; undefined if that is not known
   * @throws MalformedHooks
   */
  add(text: string | null, before: string | null | undefined): string;
  /** Returns the text itself if it holds nothing of ours. @param before as for `add` @throws MalformedHooks */
  remove(text: string, before: string | null | undefined): string;
  /** Whether a text holds nothing. */
  isBlank(text: string): boolean;
}

/** What a file was before `forumbus install`, and after. */
interface Installed {
  path: string;
  /** Its text before; null if there was no file. */
  before: string | null;
  /** Folders that were made for it, the innermost first. */
  folders: string[];
  after: string;
}

/** A file of a host, changed and restored. */
export class HostFile {
  readonly path: string;
  readonly #edit: Edit;
  readonly #state: Context['state'];

  constructor(path: string, edit: Edit, state: Context['state']) {
    // What a link of a dotfile manager points at is changed, not the link.
    this.path = targetOf(path);
    this.#edit = edit;
    this.#state = state;
  }

  /** Its text; null if there is no file. @throws UsageError if it cannot be read */
  read(): string | null {
    try {
      return readFileSync(this.path, 'utf8');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return null;
      throw new UsageError(`${this.path} cannot be read (${code}); check its permissions.`);
    }
  }

  /** Its text with our entries. @throws UsageError if it has another form than the host's */
  changed(): string {
    const text = this.read();
    return this.#understood(() => this.#edit.add(text, this.#record()?.before));
  }

  /**
   * Adds our entries, and keeps what it was before.
   * @returns whether it has changed
   * @throws UsageError as {@link changed}
   */
  install(): boolean {
    const text = this.read();
    const after = this.changed();
    if (text === after) return false;
    const known = this.#record();
    // Others may have changed it since the last install: what was before is then theirs, without our entries.
    const isTheirs = known && text !== null && text !== known.after;
    const before = isTheirs
      ? this.#understood(() => this.#edit.remove(text, known.before))
      : known && text !== null
        ? known.before
        : text;
    const folders = known?.folders ?? makeFolders(dirname(this.path));
    if (known) makeFolder(dirname(this.path));
    this.#state.write(this.#keep(), { path: this.path, before, folders, after } satisfies Installed);
    this.#write(after);
    return true;
  }

  /**
   * Takes our entries out. A file that nobody has changed since is restored byte by byte; one that did not exist goes.
   * @returns whether it has changed
   * @throws UsageError as {@link changed}
   */
  uninstall(): boolean {
    const text = this.read();
    const rest = this.restored();
    if (rest !== null && rest === text) return false;
    if (rest !== null) this.#write(rest);
    else if (text !== null) this.#remove(this.#record()?.folders ?? []);
    this.#forget();
    return text !== null;
  }

  /** Its text without our entries, as {@link uninstall} leaves it; null for no file. @throws UsageError as {@link changed} */
  restored(): string | null {
    const text = this.read();
    const known = this.#record();
    if (text === null) return null;
    const rest = this.#understood(() => this.#edit.remove(text, known?.before));
    if (known && text === known.after && known.before !== null) return known.before;
    return known?.before === null && this.#edit.isBlank(rest) ? null : rest;
  }

  #understood<T>(edit: () => T): T {
    try {
      return edit();
    } catch (error) {
      if (!(error instanceof MalformedHooks)) throw error;
      throw new UsageError(`In ${this.path}, ${error.message}; repair it first. It was not changed.`);
    }
  }

  /** Replaces the file as a whole, with its permissions. */
  #write(text: string): void {
    const mode = statSync(this.path, { throwIfNoEntry: false })?.mode ?? 0o600;
    const draft = `${this.path}.${process.pid}`;
    writeFileSync(draft, text, { mode, flush: true });
    renameSync(draft, this.path);
  }

  #remove(folders: string[]): void {
    rmSync(this.path);
    for (const folder of folders) {
      try {
        rmdirSync(folder);
      } catch {
        // Others have put something into it.
        return;
      }
    }
  }

  #record(): Installed | undefined {
    return this.#state.read<Installed>(this.#keep());
  }

  #forget(): void {
    rmSync(this.#state.file(this.#keep()), { force: true });
  }

  #keep(): string {
    return `installed-${createHash('sha256').update(this.path).digest('hex').slice(0, 32)}.json`;
  }
}

/** Where a path leads to through links, also if nothing is there yet. */
function targetOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    // Whoever reads it says what is wrong.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return path;
  }
  const folder = targetOf(dirname(path));
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink();
  return isLink ? targetOf(resolve(folder, readlinkSync(path))) : join(folder, basename(path));
}

/** Makes a folder and those around it. @returns those that did not exist, the innermost first */
function makeFolders(folder: string): string[] {
  const made: string[] = [];
  for (let missing = folder; !existsSync(missing); missing = dirname(missing)) made.push(missing);
  makeFolder(folder);
  return made;
}
