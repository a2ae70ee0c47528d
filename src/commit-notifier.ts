/** What a transaction of this process can have committed that others wait for. */
export type Committed =
  /** An event: the log has grown. */
  | 'event'
  /** A message that can be claimed now. */
  | 'claimable'
  /** A token that was made or revoked. */
  | 'token';

/**
 * Tells listeners what this process has committed. It is made before both sides, so that writers need not know listeners.
 * A listener must be cheap and must not throw: it runs before the writer is answered.
 */
export class CommitNotifier {
  readonly #listeners: Record<Committed, (() => void)[]> = { event: [], claimable: [], token: [] };

  on(committed: Committed, listener: () => void): void {
    this.#listeners[committed].push(listener);
  }

  notify(...all: Committed[]): void {
    for (const committed of all) for (const listener of this.#listeners[committed]) listener();
  }
}
