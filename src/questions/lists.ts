import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database } from '../db/database.ts';
import { priorityRank } from '../priority.ts';
import type { Search } from '../search/service.ts';
import { findQuestionsAt, listQuestions, type QuestionFilter } from './list-repository.ts';
import type { QuestionRow } from './question.ts';
import type { Question, QuestionQuery } from './schemas.ts';
import type { QuestionService } from './service.ts';

export type QuestionLists = ReturnType<typeof createQuestionLists>;

interface Dependencies {
  db: Database;
  search: Search;
  questions: QuestionService;
}

/** Lists questions: by urgency, newest first, or by the words that they contain. */
export function createQuestionLists({ db, search, questions }: Dependencies) {
  const views = (rows: Parameters<QuestionService['views']>[1]) => questions.views(db.read, rows);

  /**
   * A page of questions: most urgent first, then oldest first; with `order=newest` or `q`, newest first.
   * @throws Refusal INVALID_CURSOR
   */
  async function list({ limit = 50, cursor, order, q, ...query }: QuestionQuery): Promise<Page<Question>> {
    const { priority, asked_after, ...columns } = query;
    const filter: QuestionFilter = {
      ...columns,
      priority: priority && priorityRank(priority),
      asked_after: asked_after === undefined ? undefined : Date.parse(asked_after),
    };
    if (q !== undefined) return bySearch(filter, q, cursor, limit);
    if (order === 'newest') {
      return readPage({
        list: 'questions newest first',
        cursor,
        shape: [0],
        limit,
        read: (key, count) => listQuestions(db.read, filter, { order, key }, count),
        keyOf: row => [row.asked_sequence],
        views,
      });
    }
    return readPage({
      list: 'questions',
      cursor,
      shape: [0, 0],
      limit,
      read: (key, count) => listQuestions(db.read, filter, { order: 'urgent', key }, count),
      keyOf: row => [row.priority, row.asked_sequence],
      views,
    });
  }

  /** A page of questions that contain all words, newest first. */
  function bySearch(
    filter: QuestionFilter,
    q: string,
    cursor: string | undefined,
    limit: number,
  ): Promise<Page<Question>> {
    let batch = 0;
    async function read(key: [number] | undefined, count: number): Promise<QuestionRow[]> {
      const found: QuestionRow[] = [];
      let below: number | null = key?.[0] ?? Number.MAX_SAFE_INTEGER;
      for (; below !== null && found.length < count; batch += 1) {
        const next = await search.nextQuestions(db.read, q, below, batch);
        found.push(...(await findQuestionsAt(db.read, filter, next.questions)));
        below = next.below;
        // With a filter that few questions match, this loop is long; other requests run in between.
        await nextTurn();
      }
      return found.slice(0, count);
    }
    const keyOf = (row: QuestionRow): [number] => [row.asked_sequence];
    return readPage({ list: 'questions found', cursor, shape: [0], limit, read, keyOf, views });
  }

  return { list };
}
