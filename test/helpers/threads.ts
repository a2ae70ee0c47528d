import { expect } from 'vitest';
import type { Event } from '../../src/events/schemas.ts';
import type { Thread } from '../../src/threads/schemas.ts';
import type { Answer, TestApp } from './app.ts';
import { signal } from './signals.ts';

export const agent = { type: 'agent', name: 'builder' };
export const operator = { type: 'operator', name: 'ana' };
export const everybody = [agent, operator, { type: 'human', name: 'bo' }, { type: 'system', name: 'clock' }];

export const priorities = ['urgent', 'high', 'normal', 'low'];
export const states = ['new', 'triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'];

/** The order of every list of threads: most urgent first, then the latest activity first. */
export function inListOrder(a: Ordered, b: Ordered): number {
  return priorities.indexOf(a.priority) - priorities.indexOf(b.priority) || b.last_sequence - a.last_sequence;
}

interface Ordered {
  priority: string;
  last_sequence: number;
}

/** The parameters of `GET /threads`. */
export type ThreadQuery = Record<string, string>;

/** What the contract says of each parameter, asked of one thread as its viewer sees it; `q` is one word, sought in titles. */
export function fits(view: Thread, { queue, q, viewer: _viewer, ...columns }: ThreadQuery): boolean {
  const words = view.title.toLowerCase().split(' ');
  return (
    Object.entries(columns).every(([column, value]) => view[column as keyof Thread] === value) &&
    (queue !== 'unanswered' || view.unanswered) &&
    (queue !== 'unseen' || view.unseen === true) &&
    (q === undefined || words.some(word => word.startsWith(q)))
  );
}

export const pathOf = (query: ThreadQuery) => `/threads?${new URLSearchParams(query)}`;

/** What tests do with threads, over HTTP. */
export function conversation(send: TestApp['send']) {
  /** The body of an answer that must be a success. */
  async function done<T>(answered: Promise<Answer>, status: number): Promise<T> {
    const answer = await answered;
    expect(answer.status, JSON.stringify(answer.body)).toBe(status);
    return answer.body;
  }

  return {
    open: (fields: object = {}) =>
      done<Thread>(send('POST', '/threads', { title: 'Region', body: 'Which one?', actor: agent, ...fields }), 201),

    view: (threadId: string, viewer?: string) =>
      done<Thread>(send('GET', `/threads/${threadId}${viewer ? `?viewer=${encodeURIComponent(viewer)}` : ''}`), 200),

    post: (threadId: string, fields: object = {}) =>
      send('POST', `/threads/${threadId}/posts`, { body: 'Hm.', actor: operator, ...fields }),

    change: (threadId: string, fields: object, headers: Record<string, string> = {}) =>
      send('PATCH', `/threads/${threadId}`, { actor: operator, ...fields }, headers),

    signal: (controlType: string, fields: object = {}) => send('POST', '/control-signals', signal(controlType, fields)),

    /** The viewer has seen the thread, up to a sequence if one is given. */
    mark: (threadId: string, viewer: string, sequence?: number) =>
      done<Thread>(send('PUT', `/threads/${threadId}/reads/${encodeURIComponent(viewer)}`, { sequence }), 200),

    /** Every event after a sequence, oldest first, read to the last page. */
    async events(after = 0, query = ''): Promise<Event[]> {
      const events: Event[] = [];
      for (let cursor = ''; ; ) {
        const url = `/events?after=${after}&limit=200${query}${cursor}`;
        const page = await done<{ items: Event[]; next_cursor: string | null }>(send('GET', url), 200);
        events.push(...page.items);
        if (page.next_cursor === null) return events;
        cursor = `&cursor=${page.next_cursor}`;
      }
    },
  };
}
