import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * Cancels a handler, once, by an AbortSignal and a rejected promise. Both are created on first use: most handlers
 * finish without either, and creating them for every message costs throughput.
 */
export class AttemptCancellation {
  #reason: { error: unknown } | undefined;
  #controller: AbortController | undefined;
  /** In the handler's context: what its listeners throw is its own. */
  #abort: ((reason: unknown) => void) | undefined;
  #cancelled: PromiseWithResolvers<never> | undefined;

  /** Cancels with `error` as the reason; later calls change nothing. */
  cancel(error: unknown): void {
    if (this.#reason) return;
    this.#reason = { error };
    this.#abort?.(error);
    this.#cancelled?.reject(error);
  }

  get isCancelled(): boolean {
    return this.#reason !== undefined;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      const controller = new AbortController();
      const inContext = AsyncLocalStorage.snapshot();
      this.#controller = controller;
      this.#abort = reason => inContext(() => controller.abort(reason));
      if (this.#reason) controller.abort(this.#reason.error);
    }
    return this.#controller.signal;
  }

  /** Never resolves; rejects with the reason of the cancellation. */
  get cancelled(): Promise<never> {
    this.#cancelled ??= Promise.withResolvers<never>();
    if (this.#reason) this.#cancelled.reject(this.#reason.error);
    // After the race has ended, a rejection must not count as unhandled.
    this.#cancelled.promise.catch(() => {});
    return this.#cancelled.promise;
  }
}
