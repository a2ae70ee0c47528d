import type { Question, QuestionFilter, QuestionPage } from './types.ts';

/** The first question of a list that is meant, on whichever page it stands; undefined if there is none. */
export async function findQuestion(
  list: (filter: QuestionFilter) => Promise<QuestionPage>,
  filter: QuestionFilter,
  isMeant: (question: Question) => boolean,
): Promise<Question | undefined> {
  for (let cursor: string | undefined; ; ) {
    const { items, next_cursor } = await list({ ...filter, limit: 200, ...(cursor !== undefined && { cursor }) });
    const found = items.find(isMeant);
    if (found || next_cursor === null) return found;
    cursor = next_cursor;
  }
}
