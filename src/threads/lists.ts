import { setImmediate as nextTurn } from 'node:timers/promises';
import { decodeCursor, type Page, toPage } from '../db/cursors.ts';
import type { Database, Reader } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { Events } from '../events/service.ts';
import { type Priority, priorityRank } from '../priority.ts';
import { SEARCH_START, type Search, type SearchPosition } from '../search/service.ts';
import { findNumbered, listMovedSince, listThreads, type MovedThread, type ThreadFilter } from './repository.ts';
import type { Thread, ThreadQuery } from './schemas.ts';
import type { Seen } from './seen.ts';
import { placeOf, type ThreadRow, toThread } from './thread.ts';

export type ThreadLists = ReturnType<typeof createThreadLists>;

interface Dependencies {
  db: Database;
  events: Events;
  seen: Seen;
  search: Search;
}

/** Threads that one step of a walk reads at most. */
const LONGEST_STEP = 1000;

/** A thread in a list. */
interface Listed {
  row: ThreadRow;
  /** Where it stands in this walk. */
  place: number;
  /** The end of the viewer's range of seen places that it is in; null if it is unseen, or nobody asks. */
  seenUntil: number | null;
}

/** What is wanted of the threads that a filter finds. */
interface Wanted {
  filter: ThreadFilter;
  viewer: string | undefined;
  unseenOnly: boolean;
  limit: number;
}

/** Lists of threads: filters, queues and search. */
export function createThreadLists({ db, events, seen, search }: Dependencies) {
  /** Most urgent first, then latest activity first; with `q`, best match first. @throws Refusal INVALID_CURSOR, VALIDATION_FAILED */
  async function list(query: ThreadQuery): Promise<Page<Thread>> {
    const { limit = 50, cursor, q, queue, viewer, priority, ...columns } = query;
    if (queue === 'unseen' && viewer === undefined) throw new Refusal(...viewerMissing);
    const unanswered = queue === 'unanswered' ? true : undefined;
    const filter: ThreadFilter = { ...columns, unanswered, priority: priority && priorityRank(priority) };
    const wanted = { filter, viewer, unseenOnly: queue === 'unseen', limit: limit + 1 };
    return q === undefined ? byPlace(wanted, cursor) : bySearch(wanted, q, cursor);
  }

  /**
   * A walk sees the order as it stood when it began: what happens in a thread moves it to the front of its priority, and
   * it would be skipped (or, with a lower priority, come twice).
   */
  async function byPlace(wanted: Wanted, cursor: string | undefined): Promise<Page<Thread>> {
    const from = decodeCursor('threads', cursor, [0, 0] as const);
    return db.snapshot(async reader => {
      const newest = await events.latest(reader);
      const [asOf, after] = from ?? [newest, Number.MIN_SAFE_INTEGER];
      const unmoved = await walk(reader, wanted, asOf, after);
      const moved = asOf === newest ? [] : await movedSince(reader, wanted, asOf, after);
      const listed = [...unmoved, ...moved].sort((a, b) => a.place - b.place);
      const page = toPage('threads', listed, wanted.limit - 1, ({ place }) => [asOf, place]);
      return { ...page, items: page.items.map(item => toView(item, wanted.viewer)) };
    });
  }

  /** By place. Where many threads in a row have been seen, it goes on behind them; where few have, in longer steps. */
  async function walk(reader: Reader, wanted: Wanted, asOf: number, start: number): Promise<Listed[]> {
    const found: Listed[] = [];
    for (let after = start, limit = wanted.limit; ; ) {
      const rows = await listThreads(reader, wanted.filter, { after, asOf, limit });
      const listed = await withSeen(reader, wanted, rows);
      found.push(...listed.filter(item => isWanted(item, wanted)));
      const last = listed.at(-1);
      if (!last || rows.length < limit || found.length >= wanted.limit) return found;
      after = (wanted.unseenOnly ? last.seenUntil : null) ?? last.place;
      limit = after > last.place ? wanted.limit : Math.min(limit * 4, LONGEST_STEP);
    }
  }

  async function movedSince(reader: Reader, wanted: Wanted, asOf: number, after: number): Promise<Listed[]> {
    const rows = await listMovedSince(reader, wanted.filter, asOf);
    const listed = await withSeen(reader, wanted, rows);
    return listed
      .map((item, index) => ({ ...item, place: placeThen(rows[index] as MovedThread) }))
      .filter(item => item.place > after && isWanted(item, wanted));
  }

  async function bySearch(wanted: Wanted, q: string, cursor: string | undefined): Promise<Page<Thread>> {
    const [rank, below] = decodeCursor('threads found', cursor, [0, 0] as const) ?? [];
    const found: { item: Listed; rank: number }[] = [];
    let at: SearchPosition | null = rank === undefined || below === undefined ? SEARCH_START : { rank, below };
    for (let look = 0; at !== null && found.length < wanted.limit; look += 1) {
      const { threads, goOn } = await search.next(db.read, q, at, look);
      const listed = await withSeen(db.read, wanted, await findNumbered(db.read, wanted.filter, threads));
      for (const item of listed) if (isWanted(item, wanted)) found.push({ item, rank: at.rank });
      at = goOn;
      // A filter that few of very many results fit makes this a long search; others get their turn.
      await nextTurn();
    }
    const page = toPage('threads found', found, wanted.limit - 1, ({ item, rank }) => [rank, item.row.opened_sequence]);
    return { ...page, items: page.items.map(({ item }) => toView(item, wanted.viewer)) };
  }

  async function withSeen(reader: Reader, { viewer }: Wanted, rows: ThreadRow[]): Promise<Listed[]> {
    const places = rows.map(row => row.place);
    const ends = viewer === undefined ? [] : await seen.seenUntil(reader, viewer, places);
    return rows.map((row, index) => ({ row, place: row.place, seenUntil: ends[index] ?? null }));
  }

  return { list };
}

function isWanted({ seenUntil }: Listed, { unseenOnly }: Wanted): boolean {
  return !unseenOnly || seenUntil === null;
}

function toView({ row, seenUntil }: Listed, viewer: string | undefined): Thread {
  return toThread(row, viewer === undefined ? undefined : seenUntil === null);
}

/** Where a thread stood at the sequence that it was asked for. */
function placeThen({ priority, sequence_then, priority_change }: MovedThread): number {
  const { from } = (priority_change === null ? {} : JSON.parse(priority_change)) as { from?: Priority };
  return placeOf(from === undefined ? priority : priorityRank(from), sequence_then);
}

const viewerMissing: ConstructorParameters<typeof Refusal> = [
  'VALIDATION_FAILED',
  'query/viewer: is required with queue=unseen',
  {
    errors: [{ in: 'query', pointer: '/viewer', code: 'REQUIRED', detail: 'is required with queue=unseen' }],
  },
];
