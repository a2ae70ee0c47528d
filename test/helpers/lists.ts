import { expect } from 'vitest';
import type { TestApp } from './app.ts';
import { signal } from './signals.ts';

const ana = { type: 'human', name: 'ana' };
const talk = { title: 'Which region?', body: 'Staging runs in two.', actor: ana };

/** Every list of the service, each time with rows of its own. */
export function ownLists(send: TestApp['send']) {
  let runs = 0;
  let briefs = 0;
  const created = async (url: string, body: unknown) => {
    const answer = await send('POST', url, body);
    expect(answer.status).toBe(201);
    return answer.body;
  };

  /** Each list, the rows of one run or thread of its own, and how one more row gets into it. */
  const lists = {
    '/questions': (run_id: string) => ({
      path: `/questions?run_id=${run_id}`,
      add: (seed: number) =>
        created(
          '/control-signals',
          signal('guidance_request', { run_id, priority: ['low', 'normal', 'high', 'urgent'][seed % 4] }),
        ),
      id: (row: Record<string, unknown>) => row.question_id,
    }),
    '/control-threads': (run_id: string) => ({
      path: `/control-threads?run_id=${run_id}`,
      add: (seed: number) => created('/control-signals', signal('completion', { run_id, agent_name: `agent ${seed}` })),
      id: (row: Record<string, unknown>) => row.agent_name,
    }),
    '/events': (run_id: string) => ({
      path: `/events?run_id=${run_id}`,
      add: () => created('/control-signals', signal('completion', { run_id })),
      id: (row: Record<string, unknown>) => row.event_id,
    }),
    '/outbox': (message_key: string) => ({
      path: `/outbox?message_key=${message_key}`,
      add: (payload: number) => created('/outbox', { topic: 'forum.integration.chat', payload, message_key }),
      id: (row: Record<string, unknown>) => row.message_id,
    }),
    '/threads': (run_id: string) => ({
      path: `/threads?run_id=${run_id}`,
      add: (seed: number) =>
        created('/threads', { ...talk, run_id, priority: ['low', 'normal', 'high', 'urgent'][seed % 4] }),
      id: (row: Record<string, unknown>) => row.thread_id,
    }),
    '/runs': (ticket: string) => ({
      path: `/runs?ticket=${ticket}`,
      add: async () => {
        briefs += 1;
        const answer = await send('PUT', `/runs/planned-${briefs}`, { ticket });
        expect(answer.status).toBe(201);
        return answer.body;
      },
      id: (row: Record<string, unknown>) => row.run_id,
    }),
    '/threads/{thread_id}/posts': (thread_id: string) => ({
      path: `/threads/${thread_id}/posts?`,
      // The first one opens the thread.
      add: async (seed: number) => {
        await send('POST', '/threads', { ...talk, thread_id });
        await created(`/threads/${thread_id}/posts`, { body: `Post ${seed}`, actor: ana });
      },
      id: (row: Record<string, unknown>) => row.post_id,
    }),
  };
  const names = Object.keys(lists) as (keyof typeof lists)[];
  const fresh = (name: keyof typeof lists) => {
    runs += 1;
    return lists[name](`run-${runs}`);
  };

  /** All pages from the first to the last; `between` runs after each. */
  async function walk(path: string, limit: number, between: () => Promise<void> = async () => {}) {
    const pages: Record<string, unknown>[][] = [];
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const { status, body } = await send('GET', `${path}&limit=${limit}${cursor ? `&cursor=${cursor}` : ''}`);
      expect(status).toBe(200);
      expect(Object.keys(body).sort()).toEqual(['items', 'next_cursor']);
      expect(body.items.length).toBeLessThanOrEqual(limit);
      pages.push(body.items);
      expect(pages.length, 'a walk that does not end').toBeLessThan(500);
      cursor = body.next_cursor;
      if (cursor !== null) await between();
    }
    return pages;
  }

  return { names, fresh, walk };
}
