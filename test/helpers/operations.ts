import { expect } from 'vitest';
import type { TestApp } from './app.ts';
import { fresh } from './posts.ts';
import { signal } from './signals.ts';
import { unserved } from './subscriptions.ts';

/** A valid request that has not been sent. */
export interface Example {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: string;
  body?: Record<string, unknown>;
}

type Send = TestApp['send'];

const talk = { title: 'Which region?', body: 'Staging runs in two.' };

/**
 * A valid request for every operation, about new things of the agent `builder` in `run-1` wherever an agent may send it, and
 * in runs whose names begin so wherever people of those may; none says who acts.
 * @param send as an admin, for what has to be there before; `deadly` (helpers/posts.ts) has to be among the handlers
 * @param viewer in whose name marks are made, such as `human:ana`
 * @param database its URL: nobody makes a subscription by a request
 */
export function exampleRequests(send: Send, viewer: string, database: string) {
  const made = async (url: string, body: unknown) => {
    const answer = await send('POST', url, body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    return answer.body;
  };
  const signalled = (control_type: string, fields: object = {}) =>
    made('/control-signals', signal(control_type, fields));
  const source = { host: 'claude', session_id: 's-1' };
  const question = async () => (await signalled('guidance_request', { source })).question.question_id;
  const thread = async () => (await made('/threads', { ...talk, run_id: 'run-1' })).thread_id;
  const message = async (topic = 'forum.integration.none') =>
    (await made('/outbox', { topic, payload: {} })).message_id;
  const dead = async () => {
    const id = await message(`forum.integration.deadly.${fresh()}`);
    while ((await send('POST', '/bus/process', { limit: 200 })).body.claimed > 0);
    return id;
  };
  const run = async () => {
    const run_id = `run-1-${fresh()}`;
    for (const type of ['completion', 'validation']) await signalled(type, { run_id });
    return run_id;
  };
  const loginCode = async () => (await made('/page/links', undefined)).path.replace('/#login=', '');
  /** Nothing can be sent there: it is no public address. */
  const endpoint = () => ({ name: fresh(), url: 'https://localhost/', event_types: ['forum.question.*'] });
  const webhook = async () => `/webhooks/${(await made('/webhooks', endpoint())).name}`;
  const get = (url: string): Example => ({ method: 'GET', url });
  const post = (url: string, body?: Record<string, unknown>): Example => ({
    method: 'POST',
    url,
    ...(body && { body }),
  });

  return {
    sendControlSignal: async () => post('/control-signals', signal('completion')),
    getControlSignal: async () => get(`/control-signals/${(await signalled('completion')).signal.signal_id}`),
    listQuestions: async () => get('/questions?run_id=run-1'),
    getQuestion: async () => get(`/questions/${await question()}`),
    answerQuestion: async () => ({
      method: 'PUT',
      url: `/questions/${await question()}/answer`,
      body: { answer: 'Europe.', answered_in: 'terminal' },
    }),
    cancelQuestion: async () => post(`/questions/${await question()}/cancel`, {}),
    acknowledgeQuestion: async () => {
      const id = await question();
      await send('POST', `/questions/${id}/cancel`);
      return post(`/questions/${id}/acknowledge`, {});
    },
    listControlThreads: async () => get('/control-threads?run_id=run-1'),
    getControlThread: async () => {
      await signalled('completion');
      return get('/control-threads/run-1/builder');
    },
    startAttempt: async () => {
      await signalled('completion');
      return post('/control-threads/run-1/builder/attempts', {});
    },
    withdrawAgent: async () => {
      const agent_name = fresh();
      await signalled('completion', { agent_name });
      return post(`/control-threads/run-1/${agent_name}/withdraw`, {});
    },
    listInbox: async () => get('/control-threads/run-1/builder/inbox'),
    claimInbox: async () => post('/control-threads/run-1/builder/inbox/claim', { claimant: 'session-1' }),
    acknowledgeInbox: async () => {
      await send('POST', `/questions/${await question()}/cancel`);
      const { items } = (await send('GET', '/control-threads/run-1/builder/inbox')).body;
      return post('/control-threads/run-1/builder/inbox/acknowledge', { item_ids: [items[0].item_id] });
    },
    callClaudeHook: async () =>
      post('/hooks/claude?run=run-1&agent=builder', { hook_event_name: 'UserPromptSubmit', session_id: 's-1' }),
    openThread: async () => post('/threads', { ...talk, run_id: 'run-1' }),
    listThreads: async () => get('/threads?run_id=run-1'),
    getThread: async () => get(`/threads/${await thread()}`),
    changeThread: async () => ({ method: 'PATCH', url: `/threads/${await thread()}`, body: { priority: 'high' } }),
    markThreadSeen: async () => ({
      method: 'PUT',
      url: `/threads/${await thread()}/reads/${encodeURIComponent(viewer)}`,
      body: {},
    }),
    listPosts: async () => get(`/threads/${await thread()}/posts`),
    addPost: async () => post(`/threads/${await thread()}/posts`, { body: 'Europe.' }),
    fileBrief: async () => ({ method: 'PUT', url: `/runs/run-1-${fresh()}`, body: { title: 'Move.' } }),
    listRuns: async () => get('/runs'),
    getRun: async () => {
      await signalled('completion');
      return get('/runs/run-1');
    },
    closeRun: async () => post(`/runs/${await run()}/close`, {}),
    eraseRun: async () => {
      const run_id = await run();
      await send('POST', `/runs/${run_id}/close`, {});
      return { method: 'DELETE', url: `/runs/${run_id}` };
    },
    exportRun: async () => get(`/runs/${await run()}/export`),
    getStats: async () => get('/stats'),
    listEvents: async () => get('/events?run_id=run-1'),
    streamEvents: async () => get('/events/stream?run_id=run-1'),
    publishMessage: async () => post('/outbox', { topic: 'forum.integration.none', payload: {} }),
    listMessages: async () => get('/outbox'),
    getMessage: async () => get(`/outbox/${await message()}`),
    getOutboxStats: async () => get('/outbox/stats'),
    replayMessage: async () => post(`/outbox/${await dead()}/replay`),
    replayMessages: async () => {
      await dead();
      return post('/outbox/replay', { status: 'dead' });
    },
    discardMessage: async () => post(`/outbox/${await message()}/discard`),
    listSubscriptions: async () => get('/bus/subscriptions'),
    deleteSubscription: async () => ({ method: 'DELETE', url: `/bus/subscriptions/${await unserved(database)}` }),
    replaySubscription: async () => {
      const name = await unserved(database, { position: 1 });
      return post(`/bus/subscriptions/${name}/replay`, { after: 0 });
    },
    createWebhook: async () => post('/webhooks', endpoint()),
    listWebhooks: async () => get('/webhooks'),
    getPushKey: async () => get('/push-key'),
    getWebhook: async () => get(await webhook()),
    changeWebhook: async () => ({ method: 'PATCH', url: await webhook(), body: { enabled: false } }),
    deleteWebhook: async () => ({ method: 'DELETE', url: await webhook() }),
    rotateWebhookSecret: async () => post(`${await webhook()}/rotate-secret`, {}),
    pingWebhook: async () => post(`${await webhook()}/ping`),
    listWebhookDeliveries: async () => get(`${await webhook()}/deliveries`),
    replayWebhook: async () => post(`${await webhook()}/replay`, { missing_since: '2026-11-22T00:00:00.000Z' }),
    listTopics: async () => get('/bus/topics'),
    pauseTopic: async () => post(`/bus/topics/forum.integration.${fresh()}/pause`),
    resumeTopic: async () => {
      const topic = `/bus/topics/forum.integration.${fresh()}`;
      await send('POST', `${topic}/pause`);
      return post(`${topic}/resume`);
    },
    processMessages: async () => {
      await message(`forum.integration.deadly.${fresh()}`);
      return post('/bus/process', {});
    },
    getMetrics: async () => get('/metrics'),
    callMcp: async () => post('/mcp', { jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    getMe: async () => get('/me'),
    createLoginLink: async () => post('/page/links'),
    logIn: async () => post('/page/login', { code: await loginCode() }),
    openSession: async () => post('/page/session'),
    closeSession: async () => ({ method: 'DELETE', url: '/page/session' }),
    createToken: async () => post('/tokens', { role: 'viewer', actor: { type: 'human', name: fresh() } }),
    rotateToken: async () => {
      const { token_id } = await made('/tokens', { role: 'agent', runs: fresh(), agents: '*' });
      return post(`/tokens/${token_id}/rotate`, {});
    },
    listTokens: async () => get('/tokens'),
    revokeToken: async () => {
      const { token_id } = await made('/tokens', { role: 'agent', runs: fresh(), agents: '*' });
      return post(`/tokens/${token_id}/revoke`);
    },
    listAudit: async () => get('/audit'),
    getHealth: async () => get('/bus/health'),
    getLiveness: async () => get('/livez'),
    getVersion: async () => get('/version'),
    getReadiness: async () => get('/readyz'),
    getLlms: async () => get('/llms.txt'),
  } satisfies Record<string, () => Promise<Example>>;
}
