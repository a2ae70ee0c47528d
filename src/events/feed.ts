import { coalesce } from '../coalesce.ts';
import type { Logger } from '../logging.ts';
import type { Event } from './schemas.ts';

/** Bounds of the cache of recent events. */
const CACHED_EVENTS = 500;
const CACHED_CHARACTERS = 4_000_000;
/** Events per read: the first read is small because events may be large; later reads adapt, up to `most`. */
export const READ_LIMITS = { first: 5, most: 200 };
/** The size that a read aims at. Characters. */
const READ_CHARACTERS = 65_536;

/**
 * The number of events that the next read fetches. It doubles after a small read and shrinks after a large one.
 * @param limit the number of events that the last read fetched
 * @param characters the size of these events
 */
export function nextLimit(limit: number, characters: number): number {
  const next = characters > READ_CHARACTERS ? (limit * READ_CHARACTERS) / characters : limit * 2;
  return Math.max(1, Math.min(Math.floor(next), READ_LIMITS.most));
}

interface Dependencies {
  /** The events after a sequence, oldest first. */
  read: (after: number, limit: number) => Promise<Event[]>;
  /** The sequence of the newest event; 0 before the first. */
  latest: () => Promise<number>;
  /** The interval of polls, which find commits whose wake was lost. Milliseconds. */
  pollIntervalMs: number;
  log: Logger;
}

/** An event and its server-sent event frame, encoded once for all streams. */
export interface EncodedEvent {
  event: Event;
  text: string;
}

/** Receives new events, in order and without gaps. It must not throw. */
export type Subscriber = (events: readonly EncodedEvent[]) => void;

/**
 * The one reader of the event log in a process; all waits and streams subscribe to it. Commits of this process and of
 * others wake it. It also polls, so a lost wake only delays events. Without subscribers it reads nothing.
 */
export class EventFeed {
  readonly #deps: Dependencies;
  readonly #subscribers = new Set<Subscriber>();
  /** The latest events, without a gap up to `#head`. */
  #cache: EncodedEvent[] = [];
  #cachedCharacters = 0;
  /** The sequence up to which the log has been read; undefined without subscribers. */
  #head: number | undefined;
  #starting: Promise<void> | undefined;
  #reading: Promise<void> = Promise.resolve();
  #limit = READ_LIMITS.first;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(dependencies: Dependencies) {
    this.#deps = dependencies;
  }

  /** Reads the log because a commit may have added events. Cheap, and safe to call at any time. */
  wake(): void {
    if (this.#subscribers.size === 0 || this.#closed) return;
    this.#reading = this.#catchUp();
  }

  /**
   * Passes every event to `subscriber` that commits after this promise resolves.
   * A caller that then reads the database misses no event between the read and the subscription.
   * @returns ends the subscription
   */
  async subscribe(subscriber: Subscriber): Promise<() => void> {
    this.#subscribers.add(subscriber);
    const unsubscribe = () => this.#unsubscribe(subscriber);
    try {
      this.#starting ??= this.#start();
      await this.#starting;
    } catch (error) {
      unsubscribe();
      throw error;
    }
    return unsubscribe;
  }

  async #start(): Promise<void> {
    this.#head = await this.#deps.latest();
    this.#timer ??= setInterval(() => this.wake(), this.#deps.pollIntervalMs).unref();
    // `wake` read nothing while `#head` was undefined, so commits of that time need a read now.
    this.wake();
  }

  #unsubscribe(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
    if (this.#subscribers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    // Without reads the cache would get a gap.
    this.#starting = undefined;
    this.#head = undefined;
    this.#cache = [];
    this.#cachedCharacters = 0;
  }

  /** The events after a sequence, from the cache; undefined if the cache does not hold all of them. */
  after(sequence: number): readonly EncodedEvent[] | undefined {
    const [first] = this.#cache;
    if (this.#head === undefined || sequence > this.#head) return undefined;
    if (sequence === this.#head) return [];
    if (!first || first.event.sequence > sequence + 1) return undefined;
    return this.#cache.filter(({ event }) => event.sequence > sequence);
  }

  /** Stops reading. It does not notify subscribers; the service's abort signal ends streams and waits. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#reading;
  }

  readonly #catchUp = coalesce(async () => {
    try {
      while (!this.#closed && (await this.#readNext()));
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'cannot read the event log; the next wake or poll retries');
    }
  });

  /** Reads the next events. @returns whether more may follow */
  async #readNext(): Promise<boolean> {
    const from = this.#head;
    if (from === undefined) return false;
    const limit = this.#limit;
    const events = (await this.#deps.read(from, limit)).map(encode);
    // During the read the last subscriber may have left and a new one restarted the feed at another head.
    if (this.#head !== from) return true;
    if (events.length > 0) this.#emit(events);
    if (events.length === limit) this.#limit = nextLimit(limit, charactersOf(events));
    return events.length === limit;
  }

  #emit(events: EncodedEvent[]): void {
    this.#head = events.at(-1)?.event.sequence;
    // Older events are read again from the log, which shows nothing of an erased run.
    if (events.some(({ event }) => event.event_type === 'forum.run.erased')) {
      this.#cache = [];
      this.#cachedCharacters = 0;
    }
    this.#cache.push(...events);
    this.#cachedCharacters += charactersOf(events);
    while (this.#cache.length > CACHED_EVENTS || this.#cachedCharacters > CACHED_CHARACTERS) {
      this.#cachedCharacters -= charactersOf(this.#cache.splice(0, 1));
    }
    for (const subscriber of [...this.#subscribers]) subscriber(events);
  }
}

function encode(event: Event): EncodedEvent {
  return { event, text: encodeEvent(event) };
}

/** Encodes an event as a server-sent event (WHATWG HTML, 9.2). One `data` line is enough: JSON has no line breaks. */
export function encodeEvent(event: Event): string {
  return `id: ${event.sequence}\nevent: ${event.event_type}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** The total size of these events' frames. Characters. */
export function charactersOf(events: readonly EncodedEvent[]): number {
  return events.reduce((sum, { text }) => sum + text.length, 0);
}
