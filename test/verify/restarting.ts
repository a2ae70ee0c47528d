import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The path of a file of src. */
export const sourceOf = (file: string) => fileURLToPath(new URL(`../../src/${file}`, import.meta.url));

/** A service that is started again whenever it has ended. */
export class Restarting {
  readonly #env: Record<string, string>;
  readonly #log: number;
  #child: ChildProcess;
  #ended = false;

  constructor(env: Record<string, string>, log: string) {
    this.#env = env;
    this.#log = openSync(log, 'a');
    this.#child = this.#start();
  }

  #start(): ChildProcess {
    const child = spawn(process.execPath, [sourceOf('main.ts')], {
      env: { PATH: process.env.PATH, LOG_LEVEL: 'info', MAX_EVENT_LOOP_DELAY_MS: '0', ...this.#env },
      stdio: ['ignore', this.#log, this.#log],
    });
    child.once('exit', () => {
      if (!this.#ended) this.#child = this.#start();
    });
    return child;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async end(): Promise<void> {
    this.#ended = true;
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    closeSync(this.#log);
  }
}
