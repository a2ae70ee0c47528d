import type { Logger } from '../logging.ts';
import { pauseAfter } from './throughput.ts';

/** Runs a task again and again, an interval after its last run has ended, later after failures; never twice at once. */
export class Housekeeping {
  readonly #task: () => Promise<void>;
  readonly #intervalMs: number;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;
  #run: Promise<void> = Promise.resolve();
  #stopped = true;
  #failures = 0;

  constructor(task: () => Promise<void>, intervalMs: number, log: Logger) {
    this.#task = task;
    this.#intervalMs = intervalMs;
    this.#log = log;
  }

  start(): void {
    this.#stopped = false;
    this.#begin();
  }

  /** Resolves when a run that has begun has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#run;
  }

  #begin(): void {
    this.#run = this.#task()
      .then(
        () => {
          this.#failures = 0;
        },
        error => {
          this.#failures += 1;
          this.#log.error({ err: error }, 'housekeeping failed');
        },
      )
      .finally(() => {
        const pause = pauseAfter(this.#failures, this.#intervalMs);
        if (!this.#stopped) this.#timer = setTimeout(() => this.#begin(), pause);
      });
  }
}
