import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * Tells a handler to stop. The AbortSignal and the promise are made when somebody asks for them: most handlers have ended
 * before anybody could.
 */
export class Cancellation {
  #reason: { error: unknown } | undefined;
  #controller: AbortController | undefined;
  /** In the handler's context: what its listeners throw is its own. */
  #abort: ((reason: unknown) => void) | undefined;
  #cancelled: PromiseWithResolvers<never> | undefined;

  /** The first reason counts. */
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

  /** Rejects with the reason. */
  get cancelled(): Promise<never> {
    this.#cancelled ??= Promise.withResolvers<never>();
    if (this.#reason) this.#cancelled.reject(this.#reason.error);
    // A promise that nobody races any more must not count as unhandled.
    this.#cancelled.promise.catch(() => {});
    return this.#cancelled.promise;
  }
}
