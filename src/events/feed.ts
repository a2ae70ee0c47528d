import { coalesce } from '../coalesce.ts';
import type { Logger } from '../logging.ts';
import type { Event } from './schemas.ts';

/** Events that are kept for those who follow the log closely, and how many characters of them. */
const KEPT_EVENTS = 500;
const KEPT_CHARACTERS = 4_000_000;
/** Events that one read fetches: few at first, and more while they are small. */
export const READ_AT_ONCE = { first: 5, most: 200 };
/** Characters that a read should bring. */
const READ_CHARACTERS = 65_536;

/** How many events the next read should fetch, after one of so many events brought so many characters. */
export function paced(limit: number, characters: number): number {
  const next = characters > READ_CHARACTERS ? (limit * READ_CHARACTERS) / characters : limit * 2;
  return Math.max(1, Math.min(Math.floor(next), READ_AT_ONCE.most));
}

interface Dependencies {
  /** The events after a sequence, oldest first. */
  read: (after: number, limit: number) => Promise<Event[]>;
  latest: () => Promise<number>;
  /** How often the log is looked at without having been told of anything. Milliseconds. */
  pollIntervalMs: number;
  log: Logger;
}

/** An event as it leaves in a stream: what it is, and the text, made once for all who read it. */
export interface Published {
  event: Event;
  text: string;
}

/** Who wants to be told of new events. */
export type Follower = (events: readonly Published[]) => void;

/**
 * Follows the log for everybody in this process who waits for something: one reader however many wait. It is told of
 * commits here and of those in other processes, and looks by itself now and then, so a lost message only costs time.
 * While nobody follows it does nothing.
 */
export class EventFeed {
  readonly #deps: Dependencies;
  readonly #followers = new Set<Follower>();
  /** The latest events, without a gap up to `#head`. */
  #kept: Published[] = [];
  #keptCharacters = 0;
  #head: number | undefined;
  #starting: Promise<void> | undefined;
  #reading: Promise<void> = Promise.resolve();
  #limit = READ_AT_ONCE.first;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(dependencies: Dependencies) {
    this.#deps = dependencies;
  }

  /** Something may have been committed. Cheap, and safe at any time. */
  wake(): void {
    if (this.#followers.size === 0 || this.#closed) return;
    this.#reading = this.#catchUp();
  }

  /**
   * Tells `follower` of every event that is committed from the moment at which this resolves, until the function that it
   * answers is called. So who reads the database after that misses nothing.
   */
  async follow(follower: Follower): Promise<() => void> {
    this.#followers.add(follower);
    const unfollow = () => this.#unfollow(follower);
    try {
      this.#starting ??= this.#start();
      await this.#starting;
    } catch (error) {
      unfollow();
      throw error;
    }
    return unfollow;
  }

  async #start(): Promise<void> {
    this.#head = await this.#deps.latest();
    this.#timer ??= setInterval(() => this.wake(), this.#deps.pollIntervalMs).unref();
    // What was committed meanwhile has woken nobody.
    this.wake();
  }

  #unfollow(follower: Follower): void {
    this.#followers.delete(follower);
    if (this.#followers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    // Nobody keeps the rest up to date now.
    this.#starting = undefined;
    this.#head = undefined;
    this.#kept = [];
    this.#keptCharacters = 0;
  }

  /** The kept events after a sequence; undefined if some of them are no longer kept, or have not been read yet. */
  after(sequence: number): readonly Published[] | undefined {
    const [first] = this.#kept;
    if (this.#head === undefined || sequence > this.#head) return undefined;
    if (sequence === this.#head) return [];
    if (!first || first.event.sequence > sequence + 1) return undefined;
    return this.#kept.filter(({ event }) => event.sequence > sequence);
  }

  /** Ends the looking. Those who follow are not told; they have their own way to hear of the end. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#reading;
  }

  readonly #catchUp = coalesce(async () => {
    try {
      while (!this.#closed && (await this.#readOn()));
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'could not read the event log; trying again');
    }
  });

  /** Reads what comes next; true if there may be more. */
  async #readOn(): Promise<boolean> {
    const from = this.#head;
    if (from === undefined) return false;
    const limit = this.#limit;
    const events = (await this.#deps.read(from, limit)).map(published);
    // Everybody may have left meanwhile, and others come.
    if (this.#head !== from) return true;
    if (events.length > 0) this.#tell(events);
    if (events.length === limit) this.#limit = paced(limit, sizeOf(events));
    return events.length === limit;
  }

  #tell(events: Published[]): void {
    this.#head = events.at(-1)?.event.sequence;
    this.#kept.push(...events);
    this.#keptCharacters += sizeOf(events);
    while (this.#kept.length > KEPT_EVENTS || this.#keptCharacters > KEPT_CHARACTERS) {
      this.#keptCharacters -= sizeOf(this.#kept.splice(0, 1));
    }
    for (const follower of [...this.#followers]) follower(events);
  }
}

function published(event: Event): Published {
  return { event, text: frameOf(event) };
}

/** As a server-sent event (WHATWG HTML, 9.2): JSON has no line breaks. */
export function frameOf(event: Event): string {
  return `id: ${event.sequence}\nevent: ${event.event_type}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** In characters. */
export function sizeOf(events: readonly Published[]): number {
  return events.reduce((sum, { text }) => sum + text.length, 0);
}
