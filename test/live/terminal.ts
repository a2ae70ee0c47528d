import { spawnSync } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from './until.ts';

/** Between two keys, as a person types them. Milliseconds. */
const KEY_MS = 200;

interface Program {
  command: readonly string[];
  env: Record<string, string>;
  cwd: string;
  /** The socket of a tmux server of its own. */
  socket: string;
}

/** A program in a terminal that keys can be sent to. */
export class Terminal {
  readonly #program: Program;

  constructor(program: Program) {
    this.#program = program;
    const { command, cwd } = program;
    const quoted = command.map(word => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
    // The shell that stays shows the last screen.
    this.#tmux('new-session', '-d', '-x', '150', '-y', '50', '-c', cwd, '-s', 'live', `${quoted}; cat`);
  }

  get screen(): string {
    return this.#tmux('capture-pane', '-p', '-t', 'live').replaceAll(/\n\s*\n/g, '\n');
  }

  /** Waits until the screen shows something. @throws Error with the screen */
  async shows(pattern: RegExp, ms = 40_000): Promise<void> {
    await until(
      () => pattern.test(this.screen),
      ms,
      () => `the terminal does not show ${pattern}:\n${this.screen}`,
    );
  }

  async type(text: string): Promise<void> {
    this.#tmux('send-keys', '-t', 'live', '-l', text);
    await pause(KEY_MS);
  }

  /** Presses keys by their names of tmux, such as `Enter`. */
  async press(...keys: string[]): Promise<void> {
    for (const key of keys) {
      this.#tmux('send-keys', '-t', 'live', key);
      await pause(KEY_MS);
    }
  }

  /** The id of the program's process. */
  get pid(): number {
    const shell = this.#tmux('display-message', '-p', '-t', 'live', '#{pane_pid}').trim();
    const { stdout } = spawnSync('pgrep', ['-P', shell, '-o'], { encoding: 'utf8' });
    return Number(stdout.trim());
  }

  close(): void {
    this.#tmux('kill-server');
  }

  #tmux(...args: string[]): string {
    const { env, socket } = this.#program;
    const { stdout, error } = spawnSync('tmux', ['-S', socket, '-f', '/dev/null', ...args], { env, encoding: 'utf8' });
    if (error) throw error;
    return stdout;
  }
}
