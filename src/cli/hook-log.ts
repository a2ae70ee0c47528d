import { appendFileSync, renameSync, statSync } from 'node:fs';
import { oneLine } from './output.ts';
import type { StateFolder } from './state-folder.ts';

/** Bytes. The log before is kept beside it. */
const LOG_SIZE = 1_048_576;

/** Why hooks have said nothing: one line each, without anything of the event but its name. */
export class HookLog {
  readonly #state: StateFolder;

  constructor(state: StateFolder) {
    this.#state = state;
  }

  /** Adds a line. It never throws: a hook has nobody to tell. */
  add(host: string, event: string, error: unknown): void {
    try {
      const path = this.#state.file('hooks.log');
      if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_SIZE) renameSync(path, `${path}.1`);
      const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      const line = oneLine(`${new Date().toISOString()} ${host} ${event} ${reason}`.slice(0, 500));
      appendFileSync(path, `${line}\n`, { mode: 0o600 });
    } catch {
      // The folder cannot be written.
    }
  }
}
