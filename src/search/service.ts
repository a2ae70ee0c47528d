import type { Database, Reader, Tx } from '../db/database.ts';
import { findTexts, insertWords, searchTables } from './repository.ts';
import { wordsOf } from './words.ts';

/** A text's row id is the thread's number times this, plus the post's number in the thread. */
const POSTS_PER_THREAD = 2 ** 22;
/** Further words of a query are ignored. */
const QUERY_WORDS = 32;
/** The texts per batch. Later batches of a request are larger, since each starts a new index scan. */
const batchSize = (batch: number) => Math.min(500 * 4 ** batch, 8000);
/** The matches of the stronger field that one batch reads at most, to exclude their threads. */
const MAX_STRONGER_MATCHES = 8000;

export type Search = ReturnType<typeof createSearch>;

/** The position of a walk through the results: the field, and the thread within the field. */
export interface SearchPosition {
  /** The field: 0 titles, 1 first posts, 2 replies. */
  rank: number;
  /** The next results have a smaller thread number. */
  below: number;
}

interface IndexedThread {
  /** Its `opened_sequence`. */
  number: number;
  title: string;
  kind: 'control' | 'discussion';
}

/** The position before the first result. */
export const SEARCH_START: SearchPosition = { rank: 0, below: Number.MAX_SAFE_INTEGER };

/**
 * Full-text search for threads. A thread ranks by the strongest field that holds all words of the query: the title,
 * then the first post, then a reply. Within a rank the newest thread comes first.
 * A post is indexed together with the title of its thread. Replies in control threads are indexed alone, because these
 * titles consist of agent and run names.
 * The rank and the number of a found thread never change, so a walk neither skips nor repeats it while posts arrive.
 */
export function createSearch({ db: { engine } }: { db: Pick<Database, 'engine'> }) {
  return {
    /**
     * Indexes a post in the transaction that stores it.
     * @param post `number`: its position in the thread; 1 is the first post
     */
    index(tx: Tx, thread: IndexedThread, post: { number: number; body: string }) {
      if (post.number >= POSTS_PER_THREAD) return;
      const rowid = thread.number * POSTS_PER_THREAD + post.number;
      const isFirst = post.number === 1;
      const title = isFirst ? wordsOf(thread.title) : [];
      const alone = !isFirst && thread.kind === 'control';
      const words = wordsOf(alone ? post.body : `${thread.title}\n${post.body}`);
      // FTS5 buffers inserts. It flushes the buffer before a row id that does not grow, and before a savepoint.
      // Inserts at the end of the transaction, ordered by row id, need one flush instead of one per text.
      tx.beforeCommit(rowid, commitTx => {
        if (title.length > 0) insertWords(commitTx, engine, 'search_titles', rowid, title);
        if (words.length > 0)
          insertWords(commitTx, engine, isFirst ? 'search_openings' : 'search_replies', rowid, words);
      });
    },

    /**
     * Reads the next batch of results. A batch may contain no result although more follow.
     * @param batch the number of batches before this one in the same request
     * @returns thread numbers, best first, and the position of the next batch; null at the end
     */
    async next(
      reader: Reader,
      query: string,
      { rank, below }: SearchPosition,
      batch: number,
    ): Promise<{ threads: number[]; nextPosition: SearchPosition | null }> {
      const words = wordsOf(query).slice(0, QUERY_WORDS);
      const table = searchTables[rank];
      if (words.length === 0 || table === undefined) return { threads: [], nextPosition: null };
      const limit = batchSize(batch);
      const range = { above: 0, below: bounded(below * POSTS_PER_THREAD), limit };
      const texts = await findTexts(reader, engine, table, words, range);
      const threads = [...new Set(texts.map(threadOf))];
      const last = threads.at(-1);
      if (last === undefined) return { threads, nextPosition: rankAfter(rank) };
      const nextPosition = texts.length < limit ? rankAfter(rank) : { rank, below: last };
      const stronger = searchTables[rank - 1];
      if (!stronger) return { threads, nextPosition };
      // Threads that match in the stronger field have come at its rank already, so they are excluded here.
      // If that field has too many matches for one read, this batch ends at the last thread read.
      const span = { above: last * POSTS_PER_THREAD, below: ((threads[0] as number) + 1) * POSTS_PER_THREAD };
      const matches = await findTexts(reader, engine, stronger, words, { ...span, limit: MAX_STRONGER_MATCHES });
      const end = matches.length < MAX_STRONGER_MATCHES ? last : threadOf(matches.at(-1) as number);
      const excluded = new Set(matches.map(threadOf));
      return {
        threads: threads.filter(thread => thread >= end && !excluded.has(thread)),
        nextPosition: end === last ? nextPosition : { rank, below: end },
      };
    },
  };
}

/** Keeps a row id within the range of both engines, since a forged cursor may hold any number. */
function bounded(rowid: number): number {
  return Math.min(Math.max(rowid, 0), Number.MAX_SAFE_INTEGER);
}

function threadOf(rowid: number): number {
  return Math.floor(rowid / POSTS_PER_THREAD);
}

function rankAfter(rank: number): SearchPosition | null {
  return rank + 1 < searchTables.length ? { rank: rank + 1, below: SEARCH_START.below } : null;
}
