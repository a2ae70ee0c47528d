import type { Page } from '../db/cursors.ts';
import type { EventFeed } from '../events/feed.ts';
import type { Event } from '../events/schemas.ts';
import { Waiters } from '../events/waiters.ts';
import type { QuestionLists } from './lists.ts';
import type { Question, QuestionQuery } from './schemas.ts';

export type QuestionListWaiters = ReturnType<typeof createQuestionListWaiters>;

/** Requests that wait for a question in a list. Equal requests share their reads. */
export function createQuestionListWaiters(feed: EventFeed, lists: QuestionLists, ending: AbortSignal) {
  const waiting = new Map<string, { query: QuestionQuery; count: number }>();
  let reads = 0;
  const waiters = new Waiters<{ page: Page<Question>; read: number }>({
    feed,
    ending,
    read: async id => {
      const page = await lists.list(JSON.parse(id));
      reads += 1;
      return { page, read: reads };
    },
    revisionOf: ({ read }) => read,
    concerns: event =>
      event.event_type.startsWith('forum.question.')
        ? [...waiting].filter(([, { query }]) => isAbout(query, event)).map(([id]) => id)
        : undefined,
  });

  return {
    /** The number of waiters. */
    get size(): number {
      return waiters.size;
    },

    /** Resolves with the page as soon as it has a question; on timeout, disconnect or service stop as it is then. */
    async wait(
      query: QuestionQuery,
      { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
    ): Promise<Page<Question>> {
      const id = JSON.stringify(Object.fromEntries(Object.entries(query).sort(([a], [b]) => (a < b ? -1 : 1))));
      const entry = waiting.get(id) ?? { query, count: 0 };
      waiting.set(id, entry);
      entry.count += 1;
      try {
        return (await waiters.wait(id, { isNews: ({ page }) => page.items.length > 0, timeoutMs, signal })).page;
      } finally {
        entry.count -= 1;
        if (entry.count === 0) waiting.delete(id);
      }
    },
  };
}

function isAbout({ run_id, agent_name }: QuestionQuery, event: Event): boolean {
  return (
    (run_id === undefined || run_id === event.run_id) && (agent_name === undefined || agent_name === event.agent_name)
  );
}
