import type { Database, Reader, Tx } from '../db/database.ts';
import {
  deleteProgress,
  findProgress,
  findTexts,
  insertOpening,
  insertReply,
  numberThread,
  POSTS_PER_THREAD,
  type Progress,
  saveProgress,
  searchTables,
} from './repository.ts';
import { termsOf, wordsOf } from './words.ts';

/** Words of a query that count. */
export const QUERY_WORDS = 32;
/** Texts that a look reads: more with each look of a request, since each begins anew in the index. */
const textsRead = (look: number) => Math.min(500 * 4 ** look, 8000);
/** Texts of a stronger place that it compares them with, at most. */
const STRONGER_READ = 8000;

export type { Progress };
export type Search = ReturnType<typeof createSearch>;

/** Where a walk through the results stands: at which kind of place, and below which thread. */
export interface SearchPosition {
  /** 0 titles, 1 first posts, 2 replies. */
  rank: number;
  /** Threads from this number on have been looked at. */
  below: number;
}

interface IndexedThread {
  number: number;
  title: string;
  kind: 'control' | 'discussion';
}

/** Before the first result. */
export const SEARCH_START: SearchPosition = { rank: 0, below: Number.MAX_SAFE_INTEGER };

/**
 * Full-text search for threads. A thread ranks by the strongest place that holds all the words: its title, its first post
 * or one of its replies (each read together with the title); among equals the newest thread comes first. Replies in control
 * threads, whose titles are made of names, are read alone. Where a thread
 * ranks never changes, so a walk through the pages neither skips nor repeats it, whatever is written meanwhile.
 */
export function createSearch({ db: { engine } }: { db: Pick<Database, 'engine'> }) {
  return {
    /**
     * Makes a post findable, in the transaction that stores it.
     * @param thread the thread's number (its `opened_sequence`), title and kind
     * @param post the post's number in its thread (1 is the first) and text
     */
    index(tx: Tx, thread: IndexedThread, post: { number: number; body: string }) {
      if (post.number >= POSTS_PER_THREAD) return;
      const { number, title, kind } = thread;
      const first = post.number === 1;
      const titleWords = first ? wordsOf(title) : [];
      const words = wordsOf(!first && kind === 'control' ? post.body : `${title}\n${post.body}`);
      // Before all words, and in the order in which threads were opened.
      if (first) tx.beforeCommit(number - Number.MAX_SAFE_INTEGER, last => numberThread(last, number));
      // FTS5 collects what is inserted, and writes it down when a row id is not greater than the one before or another
      // statement may have to be undone: after each text, if those of one transaction did not come together and in order.
      tx.beforeCommit(number, last => {
        if (titleWords.length > 0) insertOpening(last, engine, 'search_titles', number, titleWords);
        if (words.length === 0) return;
        if (first) insertOpening(last, engine, 'search_openings', number, words);
        else insertReply(last, engine, number, post.number, words);
      });
    },

    /**
     * The next threads, by number, best first, and where to go on; null at the end. There may be none among the texts
     * that one look reads.
     * @param look how many there have been in this request
     */
    async next(
      reader: Reader,
      query: string,
      { rank, below }: SearchPosition,
      look: number,
    ): Promise<{ threads: number[]; goOn: SearchPosition | null }> {
      const terms = termsOf(query).slice(0, QUERY_WORDS);
      const table = searchTables[rank];
      if (terms.length === 0 || table === undefined) return { threads: [], goOn: null };
      const limit = textsRead(look);
      const texts = await findTexts(reader, engine, table, terms, { above: 0, below: bounded(below), limit });
      const threads = [...new Set(texts)];
      const last = threads.at(-1);
      if (last === undefined) return { threads, goOn: rankAfter(rank) };
      const on = texts.length < limit ? rankAfter(rank) : { rank, below: last };
      const stronger = searchTables[rank - 1];
      if (!stronger) return { threads, goOn: on };
      // What a stronger place holds has come before. If it holds too much to be read at once, this look ends earlier.
      const span = { above: last - 1, below: (threads[0] as number) + 1, limit: STRONGER_READ };
      const matches = await findTexts(reader, engine, stronger, terms, span);
      const end = matches.length < STRONGER_READ ? last : (matches.at(-1) as number);
      const before = new Set(matches);
      return {
        threads: threads.filter(thread => thread >= end && !before.has(thread)),
        goOn: end === last ? on : { rank, below: end },
      };
    },

    /** How far indexing again has come; undefined if nothing is left to do. */
    progress: (reader: Reader): Promise<Progress | undefined> => findProgress(reader),

    /** Stores how far it has come; undefined ends it. */
    advance: (tx: Tx, progress: Progress | undefined) => (progress ? saveProgress(tx, progress) : deleteProgress(tx)),
  };
}

/** Within what both engines take for a sequence: it may come from a cursor that was made up. */
function bounded(sequence: number): number {
  return Math.min(Math.max(sequence, 0), Number.MAX_SAFE_INTEGER);
}

function rankAfter(rank: number): SearchPosition | null {
  return rank + 1 < searchTables.length ? { rank: rank + 1, below: SEARCH_START.below } : null;
}
