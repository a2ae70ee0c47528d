import { setImmediate as nextTurn } from 'node:timers/promises';
import { charactersOf, type EncodedEvent, type EventFeed, encodeEvent, nextLimit, READ_LIMITS } from './feed.ts';
import type { Event } from './schemas.ts';
import type { EventLog } from './service.ts';

/** A stream without events sends a heartbeat after this time. Milliseconds. */
const HEARTBEAT_MS = 15_000;
/** The size of a chunk, which bounds the memory that a slow client can pin. Characters. */
const CHUNK_CHARACTERS = 65_536;

interface StreamFilter {
  run_id?: string | undefined;
  thread_id?: string | undefined;
  agent_name?: string | undefined;
  event_type?: string | undefined;
}

/** The gauge of open streams. */
export interface StreamGauge {
  inc(): void;
  dec(): void;
}

interface Stream {
  feed: EventFeed;
  events: EventLog;
  readers: StreamGauge;
  filter: StreamFilter;
  /** The stream starts after this sequence. */
  after: number;
  /** Aborted when the client disconnects or the service stops. */
  signal: AbortSignal;
}

/**
 * Yields the log from a sequence on, as server-sent events (WHATWG HTML, 9.2), until `signal` aborts.
 * The feed's cache serves clients that keep up, the table serves those that lag, so nothing is queued per client.
 */
export async function* eventStream({ feed, events, readers, filter, after, signal }: Stream): AsyncGenerator<string> {
  let position = after;
  let limit = READ_LIMITS.first;
  let sentAt = performance.now();
  const wakeup = createWakeup(signal);
  const unsubscribe = await feed.subscribe(wakeup.notify);
  readers.inc();
  try {
    yield 'retry: 1000\n\n';
    while (!signal.aborted) {
      const from = position;
      const cached = feed.after(position);
      const { matches, upTo } = cached
        ? fromCache(cached, filter, position)
        : await fromTable(events, filter, position, limit);
      if (matches.length === limit) limit = nextLimit(limit, charactersOf(matches));
      for (const chunk of chunksOf(matches)) {
        // A slow client may take the previous chunk long after the abort.
        if (signal.aborted) return;
        position = chunk.at(-1)?.event.sequence ?? position;
        yield chunk.map(({ text }) => text).join('');
        sentAt = performance.now();
      }
      position = Math.max(position, upTo);
      // SQLite reads in the event loop: others have their turn between two reads, however fast the client is.
      if (!cached) await nextTurn();
      const silence = performance.now() - sentAt;
      if (silence >= HEARTBEAT_MS) {
        // The id moves the client's `Last-Event-ID` forward, so a reconnect does not scan events that its filter skips.
        yield `: heartbeat\nid: ${position}\n\n`;
        sentAt = performance.now();
      } else if (position === from) await wakeup.wait(HEARTBEAT_MS - silence);
    }
  } finally {
    unsubscribe();
    readers.dec();
  }
}

/** The result of one read. */
interface Batch {
  matches: readonly EncodedEvent[];
  /** The sequence up to which the log has no further match beyond `matches`. */
  upTo: number;
}

/** Returns one chunk only, so a slow client does not pin further events after they leave the cache. */
function fromCache(cached: readonly EncodedEvent[], filter: StreamFilter, from: number): Batch {
  const all = cached.filter(({ event }) => isMatch(event, filter));
  const [matches = []] = chunksOf(all);
  const last = matches.length < all.length ? matches.at(-1) : cached.at(-1);
  return { matches, upTo: last?.event.sequence ?? from };
}

async function fromTable(events: EventLog, filter: StreamFilter, from: number, limit: number): Promise<Batch> {
  const { items, upTo } = await events.after(from, filter, limit);
  return { matches: items.map(event => ({ event, text: encodeEvent(event) })), upTo };
}

/** Cuts events into chunks of at most `CHUNK_CHARACTERS`; a larger event is a chunk of its own. */
function* chunksOf(events: readonly EncodedEvent[]): Generator<readonly EncodedEvent[]> {
  for (let start = 0; start < events.length; ) {
    let size = events[start]?.text.length ?? 0;
    let end = start + 1;
    for (; end < events.length; end += 1) {
      size += events[end]?.text.length ?? 0;
      if (size > CHUNK_CHARACTERS) break;
    }
    yield events.slice(start, end);
    start = end;
  }
}

function isMatch(event: Event, filter: StreamFilter): boolean {
  return (['run_id', 'thread_id', 'agent_name', 'event_type'] as const).every(
    name => filter[name] === undefined || event[name] === filter[name],
  );
}

/** A flag to wait for: `notify` sets it, as does the abort of `signal`; `wait` clears it. */
function createWakeup(signal: AbortSignal) {
  let isSet = false;
  let wake: () => void = () => {};
  const notify = () => {
    isSet = true;
    wake();
  };
  return {
    notify,
    /** Resolves when the flag is set or the timeout expires. Milliseconds. */
    async wait(timeoutMs: number): Promise<void> {
      if (!isSet && !signal.aborted) {
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, timeoutMs);
          signal.addEventListener('abort', notify, { once: true });
          wake = () => {
            clearTimeout(timer);
            signal.removeEventListener('abort', notify);
            resolve();
          };
        });
      }
      isSet = false;
    },
  };
}
