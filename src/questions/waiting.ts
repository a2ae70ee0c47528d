import type { EventFeed } from '../events/feed.ts';
import { Waiters } from '../events/waiters.ts';
import { revisionOf } from '../revision.ts';
import type { Question } from './schemas.ts';
import type { QuestionService } from './service.ts';

export type QuestionWaiters = Waiters<Question>;

/** Requests that wait for the outcome of a question. */
export function createQuestionWaiters(
  feed: EventFeed,
  questions: QuestionService,
  ending: AbortSignal,
): QuestionWaiters {
  return new Waiters({
    feed,
    ending,
    read: questionId => questions.get(questionId),
    revisionOf,
    concerns: ({ event_type, payload }) =>
      event_type.startsWith('forum.question.') ? String(payload.question_id) : undefined,
  });
}
