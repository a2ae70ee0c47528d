/**
 * Cancels a handler, once, by an AbortSignal and a rejected promise. Both are created on first use: most handlers
 * finish without either, and creating them for every message costs throughput.
 */
export class Cancellation {
  #reason: Error | undefined;
  #controller: AbortController | undefined;
  #cancelled: PromiseWithResolvers<never> | undefined;

  /** Cancels with `reason`; later calls change nothing. */
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

  /** Never resolves; rejects with the reason of the cancellation. */
  get cancelled(): Promise<never> {
    this.#cancelled ??= Promise.withResolvers<never>();
    if (this.#reason) this.#cancelled.reject(this.#reason);
    // After the race has ended, a rejection must not count as unhandled.
    this.#cancelled.promise.catch(() => {});
    return this.#cancelled.promise;
  }
}
