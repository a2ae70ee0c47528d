import { coalesce } from '../coalesce.ts';
import type { EventFeed, Published } from './feed.ts';
import type { Event } from './schemas.ts';

interface Dependencies<T> {
  feed: EventFeed;
  /** The resource as it is now. */
  read: (id: string) => Promise<T>;
  /** The id of the resource that an event changes, if it changes one. */
  concerns: (event: Event) => string | undefined;
  /** Aborted when the service stops: whoever waits is answered then. */
  ending: AbortSignal;
}

interface Wait<T> {
  isNews: (resource: T) => boolean;
  /** Milliseconds. */
  timeoutMs: number;
  /** Aborted when nobody waits any more. */
  signal: AbortSignal;
}

interface Waiter<T> {
  /** Told how the resource is now, or why that cannot be read. */
  look: (resource: T | Error) => void;
  /** The wait is over, without news. */
  enough: () => void;
}

/** Everybody who waits for one resource; they share each look at it. */
interface Group<T> {
  waiting: Set<Waiter<T>>;
  /** Reads the resource and shows it to all of them. */
  look: () => Promise<void>;
}

/**
 * Waits for a resource to become what somebody wants. A waiter costs a few objects and a timer, no connection: the feed
 * says when something has happened to the resource, and then it is read once for all who wait for it.
 */
export class Waiters<T> {
  readonly #deps: Dependencies<T>;
  readonly #groups = new Map<string, Group<T>>();
  #following: Promise<() => void> | undefined;

  constructor(dependencies: Dependencies<T>) {
    this.#deps = dependencies;
    dependencies.ending.addEventListener('abort', () => {
      for (const group of this.#groups.values()) for (const { enough } of group.waiting) enough();
    });
  }

  /** How many wait. */
  get size(): number {
    return [...this.#groups.values()].reduce((sum, { waiting }) => sum + waiting.size, 0);
  }

  /** The resource as soon as it is news, or as it is when the time is over, the service stops or nobody waits any more. */
  async wait(id: string, { isNews, timeoutMs, signal }: Wait<T>): Promise<T> {
    const { feed, read, ending } = this.#deps;
    const group = this.#join(id);
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>();
    // It may fail before this call has come to wait for it.
    promise.catch(() => {});
    const enough = () => resolve(undefined);
    const look = (resource: T | Error) => {
      if (resource instanceof Error) reject(resource);
      else if (isNews(resource)) resolve(resource);
    };
    const waiter = { look, enough };
    group.waiting.add(waiter);
    const timer = setTimeout(enough, timeoutMs);
    signal.addEventListener('abort', enough);
    try {
      this.#following ??= feed.follow(events => this.#heard(events));
      await this.#following;
      // What was committed before the feed was followed is seen here, and what comes after it is told.
      look(await read(id));
      if (signal.aborted || ending.aborted) enough();
      return (await promise) ?? (await read(id));
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', enough);
      group.waiting.delete(waiter);
      this.#leave(id, group);
    }
  }

  #join(id: string): Group<T> {
    const known = this.#groups.get(id);
    if (known) return known;
    const waiting = new Set<Waiter<T>>();
    const look = coalesce(async () => {
      const found = await this.#deps.read(id).catch((error: Error) => error);
      for (const waiter of [...waiting]) waiter.look(found);
    });
    const group = { waiting, look };
    this.#groups.set(id, group);
    return group;
  }

  #leave(id: string, group: Group<T>): void {
    if (group.waiting.size > 0) return;
    this.#groups.delete(id);
    if (this.#groups.size > 0) return;
    this.#following?.then(unfollow => unfollow()).catch(() => {});
    this.#following = undefined;
  }

  #heard(events: readonly Published[]): void {
    for (const id of new Set(events.map(({ event }) => this.#deps.concerns(event)))) {
      const group = id === undefined ? undefined : this.#groups.get(id);
      void group?.look();
    }
  }
}
