import { loopPause } from './backoff.ts';

interface Options {
  /** Names the task in the log and in health, such as `expire_questions`. */
  name: string;
  task: () => Promise<void>;
  /** The pause after a run. Milliseconds. */
  intervalMs: number;
  /** Called with the error of each failed run. */
  failed: (name: string, error: unknown) => void;
}

/**
 * Repeats a task, one run at a time: the next run starts an interval after the last one, with backoff after failures.
 */
export class RepeatingTask {
  readonly #options: Options;
  #timer: NodeJS.Timeout | undefined;
  #run: Promise<void> = Promise.resolve();
  #stopped = true;
  #failures = 0;
  #lastError: unknown;

  constructor(options: Options) {
    this.#options = options;
  }

  start(): void {
    this.#stopped = false;
    this.#begin();
  }

  /** Starts no further run; resolves when the current one has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#run;
  }

  /** How many runs in a row have failed, and the error of the last one. */
  get health(): { name: string; failures: number; error: unknown } {
    return { name: this.#options.name, failures: this.#failures, error: this.#lastError };
  }

  #begin(): void {
    const { name, task, intervalMs, failed } = this.#options;
    this.#run = task()
      .then(
        () => {
          this.#failures = 0;
        },
        error => {
          this.#failures += 1;
          this.#lastError = error;
          failed(name, error);
        },
      )
      .finally(() => {
        const pause = loopPause(this.#failures, intervalMs);
        if (!this.#stopped) this.#timer = setTimeout(() => this.#begin(), pause);
      });
  }
}
