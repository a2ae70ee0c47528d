/** The kinds of commits that other parts of this process wait for. */
export type Committed =
  /** An event was appended to the log. */
  | 'event'
  /** A message became claimable. */
  | 'claimable'
  /** A token was created or revoked. */
  | 'token';

/**
 * Publishes the commits of this process to listeners, so that writers need not know them. A listener must be fast and
 * must not throw: it runs before the writer is answered.
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
