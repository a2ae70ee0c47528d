import type { TestApp } from './app.ts';
import { handler } from './handling.ts';
import { signal } from './signals.ts';
import { unserved } from './subscriptions.ts';

/** A POST that writes, or a DELETE that takes an idempotency key. */
export interface Post {
  /** POST if left out. */
  method?: 'POST' | 'DELETE';
  url: string;
  body?: Record<string, unknown>;
  /** Fields that make another valid request of it. */
  change: Record<string, unknown>;
}

const ana = { type: 'human', name: 'ana' };
const bob = { type: 'human', name: 'bob' };

/** Makes every message that it is given dead, so that there is something to replay. */
export const deadly = handler('forum.integration.deadly.*', (_message, context) => {
  throw context.permanent('the test wants it so');
});

const fromThen = '2026-11-22T00:00:00.000Z';

let made = 0;
/** A name that nothing else has. */
export const fresh = (): string => `own-${++made}`;

/** Every one of them, by its operation: each call answers one that has not been sent, about things of its own. */
export function posts({ send, url: database }: Pick<TestApp, 'send' | 'url'>) {
  const created = async (url: string, body: unknown) => {
    const answer = await send('POST', url, body);
    if (answer.status !== 201) throw new Error(`POST ${url} was answered ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const signalled = (control_type: string, run_id: string) =>
    created('/control-signals', signal(control_type, { run_id }));
  const asked = async (): Promise<string> => (await signalled('guidance_request', fresh())).question.question_id;
  const published = async (topic: string): Promise<string> =>
    (await created('/outbox', { topic, payload: {} })).message_id;
  const webhook = async (): Promise<string> =>
    `/webhooks/${(await created('/webhooks', { name: fresh(), url: 'https://localhost/', event_types: ['*'] })).name}`;
  const dead = async (topic: string): Promise<string> => {
    const id = await published(topic);
    while ((await send('POST', '/bus/process', {})).body.claimed > 0);
    return id;
  };

  return {
    openThread: async () => ({
      url: '/threads',
      body: { title: fresh(), body: 'x', actor: ana },
      change: { body: 'y' },
    }),
    addPost: async () => {
      const { thread_id } = await created('/threads', { title: fresh(), body: 'x', actor: ana });
      return { url: `/threads/${thread_id}/posts`, body: { body: 'x', actor: ana }, change: { body: 'y' } };
    },
    sendControlSignal: async () => ({
      url: '/control-signals',
      body: signal('guidance_request', {
        run_id: fresh(),
        options: [{ label: 'a', description: 'b' }, { label: 'c' }],
      }),
      change: { question: 'Which planet?' },
    }),
    startAttempt: async () => {
      const run_id = fresh();
      await signalled('completion', run_id);
      return { url: `/control-threads/${run_id}/builder/attempts`, body: { actor: ana }, change: { actor: bob } };
    },
    cancelQuestion: async () => ({
      url: `/questions/${await asked()}/cancel`,
      body: { actor: ana },
      change: { actor: bob },
    }),
    acknowledgeQuestion: async () => {
      const id = await asked();
      await send('POST', `/questions/${id}/cancel`);
      return { url: `/questions/${id}/acknowledge`, body: { actor: ana }, change: { actor: bob } };
    },
    claimInbox: async () => {
      const run_id = fresh();
      const { question } = await signalled('guidance_request', run_id);
      await send('POST', `/questions/${question.question_id}/cancel`);
      const url = `/control-threads/${run_id}/builder/inbox/claim`;
      return { url, body: { claimant: 'session-1' }, change: { claimant: 'session-2' } };
    },
    acknowledgeInbox: async () => {
      const run_id = fresh();
      const { question } = await signalled('guidance_request', run_id);
      await send('POST', `/questions/${question.question_id}/cancel`);
      const inbox = `/control-threads/${run_id}/builder/inbox`;
      const { items } = (await send('GET', inbox)).body;
      return {
        url: `${inbox}/acknowledge`,
        body: { item_ids: items.map(({ item_id }: { item_id: string }) => item_id) },
        change: { item_ids: ['item_0'] },
      };
    },
    withdrawAgent: async () => {
      const run_id = fresh();
      await signalled('completion', run_id);
      return { url: `/control-threads/${run_id}/builder/withdraw`, body: { actor: ana }, change: { actor: bob } };
    },
    closeRun: async () => {
      const run_id = fresh();
      await signalled('completion', run_id);
      await signalled('validation', run_id);
      return { url: `/runs/${run_id}/close`, body: { actor: ana }, change: { actor: bob } };
    },
    publishMessage: async () => ({
      url: '/outbox',
      body: { topic: `forum.integration.${fresh()}`, payload: { b: 1, a: [{ d: 2, c: null }] } },
      change: { payload: { b: 2 } },
    }),
    replayMessages: async () => {
      const topic = `forum.integration.deadly.${fresh()}`;
      await dead(topic);
      return {
        url: '/outbox/replay',
        body: { topic, status: 'dead' },
        change: { topic: 'forum.integration.deadly.none' },
      };
    },
    replayMessage: async () => ({
      url: `/outbox/${await dead(`forum.integration.deadly.${fresh()}`)}/replay`,
      change: { x: 1 },
    }),
    discardMessage: async () => ({
      url: `/outbox/${await published('forum.integration.none')}/discard`,
      change: { x: 1 },
    }),
    replaySubscription: async () => ({
      url: `/bus/subscriptions/${encodeURIComponent(deadly.name)}/replay`,
      body: { after: 0 },
      change: { after: 1 },
    }),
    deleteSubscription: async () => ({
      method: 'DELETE' as const,
      url: `/bus/subscriptions/${await unserved(database)}`,
      change: { x: 1 },
    }),
    deleteWebhook: async () => ({ method: 'DELETE' as const, url: await webhook(), change: { x: 1 } }),
    replayWebhook: async () => {
      const url = `${await webhook()}/replay`;
      return { url, body: { missing_since: fromThen }, change: { missing_since: '2026-11-23T00:00:00.000Z' } };
    },
    pauseTopic: async () => ({ url: `/bus/topics/forum.integration.${fresh()}/pause`, change: { x: 1 } }),
    resumeTopic: async () => {
      const topic = `forum.integration.${fresh()}`;
      await send('POST', `/bus/topics/${topic}/pause`);
      return { url: `/bus/topics/${topic}/resume`, change: { x: 1 } };
    },
  } satisfies Record<string, () => Promise<Post>>;
}

export type Posts = ReturnType<typeof posts>;

/** The operations of the table. */
export const operations = Object.keys(posts({ send: () => Promise.reject(), url: '' })) as (keyof Posts)[];

/** An answer in the bytes that came. */
export interface Bytes {
  status: number;
  headers: Record<string, unknown>;
  body: string;
  replayed: boolean;
}

/** Sends one under an idempotency key. A `text` goes as it is in the place of the body. */
export async function keyed(
  { app }: Pick<TestApp, 'app'>,
  key: string,
  { method = 'POST', url, body }: Pick<Post, 'method' | 'url' | 'body'>,
  text = body && JSON.stringify(body),
): Promise<Bytes> {
  const type = text === undefined ? {} : { 'content-type': 'application/json' };
  const answer = await app.inject({
    method,
    url,
    headers: { 'idempotency-key': key, ...type },
    ...(text !== undefined && { payload: text }),
  });
  // These belong to the one exchange.
  const { date: _date, 'x-request-id': _id, 'idempotency-replayed': replayed, ...headers } = answer.headers;
  return { status: answer.statusCode, headers, body: answer.body, replayed: replayed === 'true' };
}
