import { coalesce } from '../coalesce.ts';
import type { EncodedEvent, EventFeed } from './feed.ts';
import type { Event } from './schemas.ts';

interface Dependencies<T> {
  feed: EventFeed;
  /** Reads the current resource. */
  read: (id: string) => Promise<T>;
  /** Names the state of a resource; what has the same name is the same. */
  revisionOf: (resource: T) => string | number | undefined;
  /** The ids of the resources that an event changes, if any. */
  concerns: (event: Event) => string | readonly string[] | undefined;
  /** Aborted when the service stops. Each wait then ends with the current resource. */
  ending: AbortSignal;
}

interface Wait<T> {
  /** The condition that ends the wait. */
  isNews: (resource: T) => boolean;
  /** Milliseconds. */
  timeoutMs: number;
  /** Aborted when the caller disconnects. */
  signal: AbortSignal;
}

interface Waiter<T> {
  /** Takes the current resource, or the error of reading it. */
  receive: (resource: T | Error) => void;
  /** Ends the wait without news. */
  expire: () => void;
}

/** All waiters of one resource; they share each read of it. */
interface Group<T> {
  waiters: Set<Waiter<T>>;
  /** Reads the resource. Equal revisions are one object, so that one serialised text serves all waiters. */
  read: () => Promise<T>;
  /** Joins a read that has begun, or begins one. */
  joinRead: () => Promise<T>;
  /** Reads the resource once and passes it to all waiters. */
  refresh: () => Promise<void>;
}

/**
 * Long polling: each call waits until a resource meets a condition. When the feed reports an event of the resource,
 * one read serves all its waiters. A waiter costs a few objects and a timer, no database connection.
 */
export class Waiters<T> {
  readonly #deps: Dependencies<T>;
  readonly #groups = new Map<string, Group<T>>();
  #subscription: Promise<() => void> | undefined;

  constructor(dependencies: Dependencies<T>) {
    this.#deps = dependencies;
    dependencies.ending.addEventListener('abort', () => {
      for (const group of this.#groups.values()) for (const { expire } of group.waiters) expire();
    });
  }

  /** The number of waiters. */
  get size(): number {
    return [...this.#groups.values()].reduce((sum, { waiters }) => sum + waiters.size, 0);
  }

  /**
   * Resolves with the resource as soon as it is news.
   * On timeout, disconnect or service stop it resolves with the resource as it is then.
   */
  async wait(id: string, { isNews, timeoutMs, signal }: Wait<T>): Promise<T> {
    const { feed, ending } = this.#deps;
    const group = this.#join(id);
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>();
    // It may reject before the `await` below, and would then count as an unhandled rejection.
    promise.catch(() => {});
    const expire = () => resolve(undefined);
    const receive = (resource: T | Error) => {
      if (resource instanceof Error) reject(resource);
      else if (isNews(resource)) resolve(resource);
    };
    const waiter = { receive, expire };
    group.waiters.add(waiter);
    const timer = setTimeout(expire, timeoutMs);
    signal.addEventListener('abort', expire);
    try {
      this.#subscription ??= feed.subscribe(events => this.#refreshChanged(events));
      await this.#subscription;
      // This read sees all commits before the subscription; the feed reports all later ones.
      receive(await group.read());
      if (signal.aborted || ending.aborted) expire();
      return (await promise) ?? (await group.joinRead());
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', expire);
      group.waiters.delete(waiter);
      this.#leave(id, group);
    }
  }

  #join(id: string): Group<T> {
    const known = this.#groups.get(id);
    if (known) return known;
    const { revisionOf } = this.#deps;
    const waiters = new Set<Waiter<T>>();
    let latest: T | undefined;
    let reading: Promise<T> | undefined;
    const read = async () => {
      const found = await this.#deps.read(id);
      if (latest === undefined || revisionOf(latest) !== revisionOf(found)) latest = found;
      return latest;
    };
    const joinRead = () => {
      reading ??= read().finally(() => {
        reading = undefined;
      });
      return reading;
    };
    const refresh = coalesce(async () => {
      const found = await read().catch((error: Error) => error);
      for (const waiter of [...waiters]) waiter.receive(found);
    });
    const group = { waiters, read, joinRead, refresh };
    this.#groups.set(id, group);
    return group;
  }

  #leave(id: string, group: Group<T>): void {
    if (group.waiters.size > 0) return;
    this.#groups.delete(id);
    if (this.#groups.size > 0) return;
    this.#subscription?.then(unsubscribe => unsubscribe()).catch(() => {});
    this.#subscription = undefined;
  }

  #refreshChanged(events: readonly EncodedEvent[]): void {
    const ids = events.flatMap(({ event }) => this.#deps.concerns(event) ?? []);
    for (const id of new Set(ids)) void this.#groups.get(id)?.refresh();
  }
}
