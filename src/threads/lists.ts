import { setImmediate as nextTurn } from 'node:timers/promises';
import { decodeCursor, type Page, toPage } from '../db/cursors.ts';
import type { Database, Reader } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { EventLog } from '../events/service.ts';
import { type Priority, priorityRank } from '../priority.ts';
import { SEARCH_START, type Search, type SearchPosition } from '../search/service.ts';
import { findThreadsByNumber, listMovedSince, listThreads, type MovedThread, type ThreadFilter } from './repository.ts';
import type { Thread, ThreadQuery } from './schemas.ts';
import type { Seen } from './seen.ts';
import { placeOf, rangesSince, type ThreadRow, toThread } from './thread.ts';

export type ThreadLists = ReturnType<typeof createThreadLists>;

interface Dependencies {
  db: Database;
  events: EventLog;
  seen: Seen;
  search: Search;
}

/** The number of threads that one query reads at most. */
const MAX_QUERY_ROWS = 1000;

/** The number of moved threads that one query reads at most. */
const MOVED_PER_QUERY = 250;

/** A thread in a list. */
interface Listed {
  row: ThreadRow;
  /** Its place in this walk. It differs from `row.place` if the thread has moved since the walk began. */
  place: number;
  /** The end of the viewer's seen range that holds the thread; null if it is unseen, or without a viewer. */
  seenUntil: number | null;
}

/** The threads that a page may show. `limit` is the page size plus one, which tells whether another page follows. */
interface Selection {
  filter: ThreadFilter;
  viewer: string | undefined;
  unseenOnly: boolean;
  limit: number;
}

/**
 * Lists threads: filters, queues and search.
 *
 * A walk is the reading of one list page by page. Every page shows the order as of the start of the walk, so a walk
 * neither skips nor repeats a thread. The cursor carries the start (`asOf`, a sequence) and the place of the last item.
 * Without `asOf` a walk would skip threads. An event moves its thread to the front of its priority, which the walk may
 * have passed. It would also repeat a thread whose priority falls.
 *
 * A page therefore merges two queries. Threads without events since `asOf` still have their old place, and come from
 * the index. Threads with such events have moved; their old place is computed from the log.
 */
export function createThreadLists({ db, events, seen, search }: Dependencies) {
  /**
   * A page of threads by place: most urgent first, then latest activity first. With `q`, best match first.
   * @throws Refusal INVALID_CURSOR; VALIDATION_FAILED if the queue `unseen` has no viewer
   */
  async function list(query: ThreadQuery): Promise<Page<Thread>> {
    const { limit = 50, cursor, q, queue, viewer, priority, ...columns } = query;
    if (queue === 'unseen' && viewer === undefined) throw new Refusal(...viewerMissing);
    const unanswered = queue === 'unanswered' ? true : undefined;
    const filter: ThreadFilter = { ...columns, unanswered, priority: priority && priorityRank(priority) };
    const selection = { filter, viewer, unseenOnly: queue === 'unseen', limit: limit + 1 };
    return q === undefined ? byPlace(selection, cursor) : bySearch(selection, q, cursor);
  }

  /** A page by place, in the order as of the start of the walk. */
  async function byPlace(selection: Selection, cursor: string | undefined): Promise<Page<Thread>> {
    const from = decodeCursor('threads', cursor, [0, 0] as const);
    // Before the snapshot, which then has all events up to it, and perhaps some after it.
    const [asOf, after] = from ?? [await events.latest(db.read), Number.MIN_SAFE_INTEGER];
    return db.snapshot(async reader => {
      const unmoved = await listUnmoved(reader, selection, asOf, after);
      const [later] = await events.outlines(reader, asOf, 1);
      const moved = later ? await listMoved(reader, selection, asOf, after) : [];
      const listed = [...unmoved, ...moved].sort((a, b) => a.place - b.place);
      const { viewer, limit } = selection;
      return toPage(
        'threads',
        listed,
        limit - 1,
        ({ place }) => [asOf, place],
        item => toView(item, viewer),
      );
    });
  }

  /**
   * The threads after a place without events since `asOf`. With `unseenOnly`, the next query starts after the seen
   * range of the last row. So it skips the rest of the range. If there is no rest to skip, the next query reads four
   * times as many rows.
   */
  async function listUnmoved(reader: Reader, selection: Selection, asOf: number, start: number): Promise<Listed[]> {
    const found: Listed[] = [];
    for (let after = start, limit = selection.limit; ; ) {
      const rows = await listThreads(reader, selection.filter, { after, asOf, limit });
      const listed = await withSeen(reader, selection, rows);
      found.push(...listed.filter(item => isSelected(item, selection)));
      const last = listed.at(-1);
      if (!last || rows.length < limit || found.length >= selection.limit) return found;
      after = (selection.unseenOnly ? last.seenUntil : null) ?? last.place;
      limit = after > last.place ? selection.limit : Math.min(limit * 4, MAX_QUERY_ROWS);
    }
  }

  /** The first threads with events since `asOf` whose place was greater than `after` then. */
  async function listMoved(reader: Reader, selection: Selection, asOf: number, after: number): Promise<Listed[]> {
    let found: Listed[] = [];
    for (const { above, below } of rangesSince(asOf)) {
      for (let from = above; ; ) {
        const range = { asOf, after: from, below, limit: MOVED_PER_QUERY };
        const rows = await listMovedSince(reader, selection.filter, range);
        const listed = await withSeen(reader, selection, rows);
        const moved = listed
          .map((item, index) => ({ ...item, place: placeAsOf(rows[index] as MovedThread) }))
          .filter(item => item.place > after && isSelected(item, selection));
        found = [...found, ...moved].sort((a, b) => a.place - b.place).slice(0, selection.limit);
        if (rows.length < MOVED_PER_QUERY) break;
        from = rows.at(-1)?.place ?? below;
        // After an old cursor this loop is long; other requests run in between.
        await nextTurn();
      }
    }
    return found;
  }

  /** A page of search results. Their order never changes (see `createSearch`), so the cursor needs no `asOf`. */
  async function bySearch(selection: Selection, q: string, cursor: string | undefined): Promise<Page<Thread>> {
    const [rank, below] = decodeCursor('threads found', cursor, [0, 0] as const) ?? [];
    const found: { item: Listed; rank: number }[] = [];
    let position: SearchPosition | null = rank === undefined || below === undefined ? SEARCH_START : { rank, below };
    for (let batch = 0; position !== null && found.length < selection.limit; batch += 1) {
      const { threads, nextPosition } = await search.next(db.read, q, position, batch);
      const rows = await findThreadsByNumber(db.read, selection.filter, threads);
      const order = new Map(threads.map((thread, index) => [thread, index]));
      const inOrder = rows.sort((a, b) => (order.get(a.opened_sequence) ?? 0) - (order.get(b.opened_sequence) ?? 0));
      const listed = await withSeen(db.read, selection, inOrder);
      for (const item of listed) if (isSelected(item, selection)) found.push({ item, rank: position.rank });
      position = nextPosition;
      // With a filter that few results match, this loop is long; other requests run in between.
      await nextTurn();
    }
    const { viewer, limit } = selection;
    const keyOf = ({ item, rank }: (typeof found)[number]) => [rank, item.row.opened_sequence];
    return toPage('threads found', found, limit - 1, keyOf, ({ item }) => toView(item, viewer));
  }

  /** Adds the viewer's seen ranges to the rows. */
  async function withSeen(reader: Reader, { viewer }: Selection, rows: ThreadRow[]): Promise<Listed[]> {
    const places = rows.map(row => row.place);
    const ends = viewer === undefined ? [] : await seen.seenUntil(reader, viewer, places);
    return rows.map((row, index) => ({ row, place: row.place, seenUntil: ends[index] ?? null }));
  }

  return { list };
}

function isSelected({ seenUntil }: Listed, { unseenOnly }: Selection): boolean {
  return !unseenOnly || seenUntil === null;
}

function toView({ row, seenUntil }: Listed, viewer: string | undefined): Thread {
  return toThread(row, viewer === undefined ? undefined : seenUntil === null);
}

/** The place of a moved thread as of the start of the walk, from its last sequence and its priority then. */
function placeAsOf({ priority, sequence_then, priority_change }: MovedThread): number {
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
