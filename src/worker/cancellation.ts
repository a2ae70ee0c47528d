/**
 * Tells a handler to stop. The AbortSignal and the promise are made when somebody asks for them: most handlers have ended
 * before anybody could.
 */
export class Cancellation {
  #reason: Error | undefined;
  #controller: AbortController | undefined;
  #cancelled: PromiseWithResolvers<never> | undefined;

  /** The first reason counts. */
  cancel(reason: Error): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#cancelled?.reject(reason);
  }

  get isCancelled(): boolean {
    return this.#reason !== undefined;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  /** Rejects with the reason. */
  get cancelled(): Promise<never> {
    this.#cancelled ??= Promise.withResolvers<never>();
    if (this.#reason) this.#cancelled.reject(this.#reason);
    // A promise that nobody races any more must not count as unhandled.
    this.#cancelled.promise.catch(() => {});
    return this.#cancelled.promise;
  }
}
