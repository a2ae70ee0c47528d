import { type EventFeed, frameOf, type Published, paced, READ_AT_ONCE, sizeOf } from './feed.ts';
import type { Event } from './schemas.ts';
import type { Events } from './service.ts';

/** The longest silence on a stream. Milliseconds. */
const HEARTBEAT_MS = 15_000;
/** Characters that a reader is handed at once: what a slow one can hold beside one read. */
const HANDED_AT_ONCE = 65_536;

interface StreamFilter {
  run_id?: string | undefined;
  thread_id?: string | undefined;
  agent_name?: string | undefined;
  event_type?: string | undefined;
}

/** Goes up and down with the readers. */
export interface Readers {
  inc(): void;
  dec(): void;
}

interface Stream {
  feed: EventFeed;
  events: Events;
  readers: Readers;
  filter: StreamFilter;
  /** The sequence after which it begins. */
  after: number;
  /** Aborted when the reader has gone or the service stops. */
  signal: AbortSignal;
}

/**
 * The log from a sequence on, as server-sent events (WHATWG HTML, 9.2), for as long as there is a reader. Who keeps up is
 * served from what the feed has read for everybody, who is behind from the table: nothing is queued per reader.
 */
export async function* eventStream({ feed, events, readers, filter, after, signal }: Stream): AsyncGenerator<string> {
  let position = after;
  let limit = READ_AT_ONCE.first;
  let sentAt = performance.now();
  const bell = createBell(signal);
  const unfollow = await feed.follow(bell.ring);
  readers.inc();
  try {
    yield 'retry: 1000\n\n';
    while (!signal.aborted) {
      const from = position;
      const kept = feed.after(position);
      const { published, upTo } = kept
        ? ofKept(kept, filter, position)
        : await ofTable(events, filter, position, limit);
      if (published.length === limit) limit = paced(limit, sizeOf(published));
      for (const piece of piecesOf(published)) {
        // A slow reader may come for it long after the end.
        if (signal.aborted) return;
        position = piece.at(-1)?.event.sequence ?? position;
        yield piece.map(({ text }) => text).join('');
        sentAt = performance.now();
      }
      position = Math.max(position, upTo);
      const silence = performance.now() - sentAt;
      if (silence >= HEARTBEAT_MS) {
        // With the id, so that a reader of few events need not go through all the others when it comes back.
        yield `: heartbeat\nid: ${position}\n\n`;
        sentAt = performance.now();
      } else if (position === from) await bell.rung(HEARTBEAT_MS - silence);
    }
  } finally {
    unfollow();
    readers.dec();
  }
}

/** What fits the filter, and the sequence up to which nothing else does. */
interface Look {
  published: readonly Published[];
  upTo: number;
}

/** One piece at a time: while a slow reader takes it, nothing else is held for it. */
function ofKept(kept: readonly Published[], filter: StreamFilter, from: number): Look {
  const fitting = kept.filter(({ event }) => fits(event, filter));
  const [published = []] = piecesOf(fitting);
  const last = published.length < fitting.length ? published.at(-1) : kept.at(-1);
  return { published, upTo: last?.event.sequence ?? from };
}

async function ofTable(events: Events, filter: StreamFilter, from: number, limit: number): Promise<Look> {
  const { items, upTo } = await events.after(from, filter, limit);
  return { published: items.map(event => ({ event, text: frameOf(event) })), upTo };
}

/** As much as a reader is handed at once, but always one event. */
function* piecesOf(published: readonly Published[]): Generator<readonly Published[]> {
  for (let start = 0; start < published.length; ) {
    let size = published[start]?.text.length ?? 0;
    let end = start + 1;
    for (; end < published.length; end += 1) {
      size += published[end]?.text.length ?? 0;
      if (size > HANDED_AT_ONCE) break;
    }
    yield published.slice(start, end);
    start = end;
  }
}

function fits(event: Event, filter: StreamFilter): boolean {
  return (['run_id', 'thread_id', 'agent_name', 'event_type'] as const).every(
    name => filter[name] === undefined || event[name] === filter[name],
  );
}

/** Something to wait at: rung when there are events, and at the end. */
function createBell(signal: AbortSignal) {
  let hasRung = false;
  let wake: () => void = () => {};
  const ring = () => {
    hasRung = true;
    wake();
  };
  return {
    ring,
    /** Until somebody rings, or has rung since the last time, or this time is over. Milliseconds. */
    async rung(patience: number): Promise<void> {
      if (!hasRung && !signal.aborted) {
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, patience);
          signal.addEventListener('abort', ring, { once: true });
          wake = () => {
            clearTimeout(timer);
            signal.removeEventListener('abort', ring);
            resolve();
          };
        });
      }
      hasRung = false;
    },
  };
}
