/** The kinds of commits that other parts of this process wait for. */
export type Committed =
  /** Events were appended to the log; the subjects are their types. */
  | 'event'
  /** A message was published, replayed or discarded. */
  | 'message'
  /** A delivery became claimable. */
  | 'claimable'
  /** A token was created or revoked. */
  | 'token'
  /** A webhook was created, changed or deleted. */
  | 'webhook';

type Listener = (subjects: readonly string[]) => void;

/**
 * Publishes the commits of this process to listeners, so that writers need not know them. A listener must be fast and
 * must not throw: it runs before the writer is answered.
 */
export class CommitNotifier {
  readonly #listeners: Record<Committed, Listener[]> = {
    ...{ event: [], message: [], claimable: [], token: [], webhook: [] },
  };

  on(committed: Committed, listener: Listener): void {
    this.#listeners[committed].push(listener);
  }

  notify(committed: Committed, subjects: readonly string[] = []): void {
    for (const listener of this.#listeners[committed]) listener(subjects);
  }
}
