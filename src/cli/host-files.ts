import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import type { HostName } from '../hooks/hosts.ts';
import { type Content, MalformedHooks } from '../hooks/merge.ts';
import { type Context, UsageError } from './command.ts';

/** What a file was before `forumbus install`, and after. */
interface Installed {
  path: string;
  /** Its text before; null if there was no file. */
  before: string | null;
  /** Folders that were made for it, the innermost first. */
  folders: string[];
  after: string;
}

export type Scope = 'project' | 'user';

/** The file of a host that holds hooks, in the folder of a project or of the user. */
export function hostFile(host: HostName, scope: Scope, { env, cwd }: Pick<Context, 'env' | 'cwd'>): string {
  const home = env.HOME || homedir();
  const own = (folder: string) => (scope === 'project' ? join(cwd, folder) : join(home, folder));
  const configured = (folder: string, setting: string | undefined) =>
    scope === 'user' && setting ? setting : own(folder);
  switch (host) {
    case 'claude':
      return join(configured('.claude', env.CLAUDE_CONFIG_DIR), 'settings.json');
    case 'codex':
      return join(configured('.codex', env.CODEX_HOME), 'hooks.json');
    case 'gemini':
      return join(own('.gemini'), 'settings.json');
    case 'cursor':
      return join(own('.cursor'), 'hooks.json');
    case 'copilot':
      return join(own(scope === 'project' ? '.github' : '.copilot'), 'hooks', 'forumbus.json');
  }
}

/** A JSON file of a host, changed and restored. */
export class HostFile {
  readonly path: string;
  readonly #state: Context['state'];

  constructor(path: string, state: Context['state']) {
    // What a link of a dotfile manager points at is changed, not the link.
    this.path = existsSync(path) ? realpathSync(path) : path;
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

  /**
   * Changes its content, and keeps what it was before.
   * @returns whether it has changed
   * @throws UsageError if it is not a JSON object, or its hooks have another form
   */
  install(change: (content: Content) => Content, without: (content: Content) => Content): boolean {
    const text = this.read();
    const after = this.changed(change);
    if (text === after) return false;
    const known = this.#record();
    // Others may have changed it since the last install: what was before is then theirs, without our entries.
    const isOurs = known && text !== null && text !== known.after;
    const before = isOurs ? this.changed(without) : known && text !== null ? known.before : text;
    const folders = known?.folders ?? makeFolders(dirname(this.path));
    if (known) mkdirSync(dirname(this.path), { recursive: true });
    this.#state.write(this.#keep(), { path: this.path, before, folders, after } satisfies Installed);
    this.#write(after);
    return true;
  }

  /** Its text after a change of its content, in its own indentation. @throws UsageError */
  changed(change: (content: Content) => Content): string {
    const text = this.read();
    return serialized(this.#changed(text, change), text);
  }

  /**
   * Takes our entries out. A file that nobody has changed since is restored byte by byte; one that did not exist goes.
   * @returns whether it has changed
   * @throws UsageError as {@link install}
   */
  uninstall(without: (content: Content) => Content, isBlank: (content: Content) => boolean): boolean {
    const text = this.read();
    const known = this.#record();
    if (text === null) {
      this.#forget();
      return false;
    }
    const rest = this.#changed(text, without);
    if (known && text === known.after && known.before !== null) this.#write(known.before);
    else if (known?.before === null && isBlank(rest)) this.#remove(known.folders);
    else if (
      serialized(
        this.#changed(text, content => content),
        text,
      ) === serialized(rest, text)
    )
      return false;
    else this.#write(serialized(rest, text));
    this.#forget();
    return true;
  }

  #changed(text: string | null, change: (content: Content) => Content): Content {
    let content: unknown;
    try {
      content = text === null ? {} : JSON.parse(text);
      if (typeof content !== 'object' || content === null || Array.isArray(content)) throw new SyntaxError();
    } catch {
      throw new UsageError(`${this.path} is not a JSON object; repair it first. It was not changed.`);
    }
    try {
      return change(content as Content);
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

function serialized(content: Content, before: string | null): string {
  const [, indent = '  '] = /^\{\r?\n([ \t]+)"/.exec(before ?? '') ?? [];
  return `${JSON.stringify(content, null, indent)}\n`;
}

/** Makes a folder and those around it. @returns those that did not exist, the innermost first */
function makeFolders(folder: string): string[] {
  const made: string[] = [];
  for (let missing = folder; !existsSync(missing); missing = dirname(missing)) made.push(missing);
  mkdirSync(folder, { recursive: true });
  return made;
}
