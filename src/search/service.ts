import type { Database, Reader, Tx } from '../db/database.ts';
import {
  assignNumbers,
  clearWords,
  deleteProgress,
  deleteQuestionsLeft,
  deleteWords,
  findProgress,
  findQuestionsLeft,
  findTexts,
  insertOpeningWords,
  insertProgress,
  insertReplyWords,
  numberThread,
  POSTS_PER_THREAD,
  type Progress,
  saveProgress,
  saveQuestionsLeft,
  searchTables,
} from './repository.ts';
import { termsOf, wordsOf } from './words.ts';

/** Further terms of a query are ignored. */
const QUERY_TERMS = 32;
/** The texts per batch. Later batches of a request are larger, since each starts a new index scan. */
const batchSize = (batch: number) => Math.min(500 * 4 ** batch, 8000);
/**
 * The rows that all works of a transaction write together. Threads are numbered before the words of their replies, and
 * a table gets all its rows at once.
 */
const STAGES = { threads: 0, titles: 1, openings: 2, replies: 3, questions: 4 };
/** The matches of the stronger field that one batch reads at most, to exclude their threads. */
const MAX_STRONGER_MATCHES = 8000;

export type { Progress };
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
 * Full-text search for threads. A thread ranks by the strongest field that holds all words of the query. The title is
 * first, then the first post, then a reply. Within a rank the newest thread comes first. A post is indexed together
 * with the title of its thread. Replies in control threads are indexed alone, because these titles consist of agent and
 * run names. The rank and the number of a found thread never change. So a walk neither skips nor repeats it while posts
 * arrive.
 */
export function createSearch({ db: { engine } }: { db: Pick<Database, 'engine'> }) {
  return {
    /**
     * Indexes a post in the transaction that stores it.
     * @param post `number`: its position in the thread; 1 is the first post
     */
    index(tx: Tx, thread: IndexedThread, post: { number: number; body: string }) {
      if (post.number >= POSTS_PER_THREAD) return;
      const { number, title, kind } = thread;
      const isFirst = post.number === 1;
      const titleWords = isFirst ? wordsOf(title) : [];
      const words = wordsOf(!isFirst && kind === 'control' ? post.body : `${title}\n${post.body}`);
      // FTS5 buffers inserts. It flushes the buffer before a row id that does not grow, and before a savepoint.
      // Inserts at the end of the transaction, ordered by row id, need one flush instead of one per text.
      const inStage = (stage: keyof typeof STAGES, write: (tx: Tx) => void) =>
        tx.beforeCommit(STAGES[stage], number, write);
      if (isFirst) inStage('threads', last => numberThread(last, number));
      if (titleWords.length > 0) {
        inStage('titles', last => insertOpeningWords(last, engine, 'search_titles', number, titleWords));
      }
      if (words.length === 0) return;
      if (isFirst) inStage('openings', last => insertOpeningWords(last, engine, 'search_openings', number, words));
      else inStage('replies', last => insertReplyWords(last, engine, number, post.number, words));
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
      const terms = termsOf(query).slice(0, QUERY_TERMS);
      const table = searchTables[rank];
      if (terms.length === 0 || table === undefined) return { threads: [], nextPosition: null };
      const limit = batchSize(batch);
      const texts = await findTexts(reader, engine, table, terms, { above: 0, below: bounded(below), limit });
      const threads = [...new Set(texts)];
      const last = threads.at(-1);
      if (last === undefined) return { threads, nextPosition: rankAfter(rank) };
      const nextPosition = texts.length < limit ? rankAfter(rank) : { rank, below: last };
      const stronger = searchTables[rank - 1];
      if (!stronger) return { threads, nextPosition };
      // Threads that match in the stronger field have come at its rank already, so they are excluded here.
      // If that field has too many matches for one read, this batch ends at the last thread read.
      const span = { above: Math.min(...threads) - 1, below: Math.max(...threads) + 1, limit: MAX_STRONGER_MATCHES };
      const matches = await findTexts(reader, engine, stronger, terms, span);
      const excluded = new Set(matches);
      const end = matches.length < MAX_STRONGER_MATCHES ? 0 : (matches.at(-1) as number);
      const cut = threads.findIndex(thread => thread < end);
      const known = cut === -1 ? threads : threads.slice(0, Math.max(cut, 1));
      return {
        threads: known.filter(thread => !excluded.has(thread)),
        nextPosition: cut === -1 ? nextPosition : { rank, below: known.at(-1) as number },
      };
    },

    /**
     * Removes the words of a post, and with the first post those of the title. All must be as they were indexed.
     * @param post as for `index`
     */
    remove(tx: Tx, thread: IndexedThread, post: { number: number; body: string }): void {
      if (post.number >= POSTS_PER_THREAD) return;
      const { number: opened_sequence, title, kind } = thread;
      const isFirst = post.number === 1;
      if (isFirst) {
        deleteWords(tx, engine, 'search_titles', { opened_sequence, post: 0, words: wordsOf(title) });
      }
      const words = wordsOf(!isFirst && kind === 'control' ? post.body : `${title}\n${post.body}`);
      const table = isFirst ? 'search_openings' : 'search_replies';
      deleteWords(tx, engine, table, { opened_sequence, post: post.number, words });
    },

    /** Removes the words of a question. @param text as it was indexed */
    removeQuestion(tx: Tx, sequence: number, text: string): void {
      deleteWords(tx, engine, 'search_questions', { opened_sequence: sequence, post: 0, words: wordsOf(text) });
    },

    /** Whether stored texts are still to be indexed, by a job. */
    isIncomplete: async (reader: Reader): Promise<boolean> =>
      (await findProgress(reader)) !== undefined || (await findQuestionsLeft(reader)) !== undefined,

    /** Indexes the text of a question in the transaction that stores it. @param sequence of its event */
    indexQuestion(tx: Tx, sequence: number, text: string): void {
      const words = wordsOf(text);
      if (words.length === 0) return;
      tx.beforeCommit(STAGES.questions, sequence, last =>
        insertOpeningWords(last, engine, 'search_questions', sequence, words),
      );
    },

    /**
     * Reads the next batch of questions that contain all words.
     * @param below their sequences are smaller
     * @param batch the number of batches before this one in the same request
     * @returns sequences, newest first, and where the next batch begins; null at the end
     */
    async nextQuestions(
      reader: Reader,
      query: string,
      below: number,
      batch: number,
    ): Promise<{ questions: number[]; below: number | null }> {
      const terms = termsOf(query).slice(0, QUERY_TERMS);
      if (terms.length === 0) return { questions: [], below: null };
      const limit = batchSize(batch);
      const span = { above: 0, below: bounded(below), limit };
      const questions = await findTexts(reader, engine, 'search_questions', terms, span);
      return { questions, below: questions.length < limit ? null : (questions.at(-1) as number) };
    },

    /** The sequence below which stored questions are still to be indexed; undefined if there is none. */
    questionsLeft: (reader: Reader): Promise<number | undefined> => findQuestionsLeft(reader),

    /** Stores how far that has come; undefined ends it. */
    saveQuestionsLeft: (tx: Tx, below: number | undefined) =>
      below === undefined ? deleteQuestionsLeft(tx) : saveQuestionsLeft(tx, below),

    /** Numbers threads of an import that follow those that have a number. @param sequences their `opened_sequence` */
    numberThreads: (tx: Tx, sequences: number[]): Promise<void> => assignNumbers(tx, sequences),

    /** Leaves all texts of an import to the jobs that index stored ones. @param last the newest sequence */
    indexLater: (tx: Tx, last: number): Promise<void> => insertProgress(tx, last),

    /** Forgets all words, and leaves all texts to the jobs that index stored ones. @param last the newest sequence */
    async rebuild(tx: Tx, last: number): Promise<void> {
      await clearWords(tx);
      await insertProgress(tx, last);
    },

    /** The progress of a reindex; undefined if none is due. */
    reindexProgress: (reader: Reader): Promise<Progress | undefined> => findProgress(reader),

    /** Stores the progress of the reindex; undefined ends it. */
    saveReindexProgress: (tx: Tx, progress: Progress | undefined) =>
      progress ? saveProgress(tx, progress) : deleteProgress(tx),
  };
}

/** Keeps a sequence within the range of both engines, since a forged cursor may hold any number. */
function bounded(sequence: number): number {
  return Math.min(Math.max(sequence, 0), Number.MAX_SAFE_INTEGER);
}

function rankAfter(rank: number): SearchPosition | null {
  return rank + 1 < searchTables.length ? { rank: rank + 1, below: SEARCH_START.below } : null;
}
