import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HandlerDefinition } from '../src/worker/handler.ts';
import { ADMIN_TOKEN, type Call, type Recorder, type Scene } from './recorder.ts';
import { refusals } from './refusals.ts';

/*
 * The story behind the examples of the OpenAPI document: an agent moves a shop to Europe, and people answer it. Every
 * operation occurs at least once with every success that it has, and every error code once. A new operation gets its
 * step here; test/http/openapi.test.ts names those without an example.
 */

const agent = { run_id: 'run-7', agent_name: 'builder' };
const signal = (control_type: string, fields: object = {}) => ({
  ...{ schema_version: 1, control_type, ...agent },
  ...fields,
});
const question = {
  question: 'Which region?',
  options: [{ label: 'eu-west-1', description: 'Where staging runs.' }, { label: 'us-east-1' }],
};
const NEWS = { hook_event_name: 'UserPromptSubmit', session_id: '6f1c2a', prompt: 'Go on.' };

/** Makes its messages dead, so that there is something to replay. */
const mailer: HandlerDefinition = {
  name: 'mailer',
  topics: ['forum.integration.mail'],
  transactional: false,
  handle: (_message, context) => {
    throw context.permanent('The address does not exist.');
  },
  policy: {},
};
const chat: HandlerDefinition = {
  ...{ name: 'chat', topics: ['forum.integration.chat'], transactional: false, policy: {} },
  handle: () => ({ posted: true }),
};
const importer: HandlerDefinition = { ...chat, name: 'importer', topics: ['forum.events.control.signal'] };

export async function tellStory(recorder: Recorder): Promise<void> {
  // The handler `importer` leaves a subscription that nobody serves any more.
  await (await recorder.start({}, { handlers: [importer] }, 'main.db')).app.close();
  const main = await recorder.start(
    { SELF_VALIDATION: 'forbid', OPEN_QUESTIONS_PER_AGENT: '2' },
    { handlers: [chat, mailer], mcpHoldTimes: { withProgress: 20, silent: 20, progressEvery: 10_000 } },
    'main.db',
  );
  const tokens = await access(main);
  await work(main, tokens);
  await talk(main, tokens);
  await agentsInterfaces(main, tokens);
  await bus(main, tokens);
  await watch(main, tokens);
  await keepAndErase(main, tokens);
  await refusals(recorder, main, tokens);
  await outage(recorder, main, tokens);
  await webhooks(recorder);
}

export type Tokens = Record<'admin' | 'operator' | 'viewer' | 'builder', string>;

async function access(main: Scene): Promise<Tokens> {
  const as = ADMIN_TOKEN;
  const made = async (body: object): Promise<string> => (await main.call('createToken', { as, body })).token;
  const builder = await made({ role: 'agent', runs: 'run-7', agents: 'builder', expires_in_seconds: 2_592_000 });
  const operator = await made({ role: 'operator', actor: { type: 'operator', name: 'ana' } });
  const viewer = await made({ role: 'viewer', actor: { type: 'human', name: 'eve' } });
  await main.call('getMe', { as: builder });
  await main.call('listTokens', { as });
  const { token_id } = await main.call('createToken', { as, body: { role: 'agent', runs: 'run-6', agents: '*' } });
  const rotation = { as, path: { token_id }, body: { overlap_seconds: 86_400 } };
  await main.call('rotateToken', rotation);
  await main.call('revokeToken', { as, path: { token_id } });
  await main.refused('TOKEN_ENDED', 'rotateToken', rotation);
  const { path } = await main.call('createLoginLink', { as: operator });
  await main.call('logIn', { body: { code: path.replace('/#login=', '') } });
  await main.call('openSession', { as: operator });
  await main.call('closeSession', { as: operator });
  return { admin: as, operator, viewer, builder };
}

/** A run from its brief to its end. */
async function work(main: Scene, { operator, builder, admin }: Tokens): Promise<void> {
  const run = { run_id: 'run-7' };
  const brief = { ticket: 'TCK-1', title: 'Move to Europe', done_criteria: 'Tests are green.', agents: ['builder'] };
  await main.call('fileBrief', { as: operator, path: run, body: brief });
  await main.call('fileBrief', { as: operator, path: run, body: { ...brief, title: 'Move the shop to Europe' } });

  const send = (body: object, as = builder, headers = {}) => main.call('sendControlSignal', { as, body, headers });
  const source = { host: 'claude', session_id: '6f1c2a', cwd: '/home/ana/shop' };
  const asked = await send(signal('guidance_request', { ...question, source }), builder, {
    'idempotency-key': 'run-7-region',
  });
  const { question_id } = asked.question;
  await main.call('getControlSignal', { as: builder, path: { signal_id: asked.signal.signal_id } });
  await main.call('listQuestions', { as: operator, query: { state: 'open' } });
  const path = { question_id };
  await main.call('getQuestion', { as: builder, path });
  const answer = { answer: 'Staging is there.', selected: ['eu-west-1'], answered_in: 'page' };
  await main.call('answerQuestion', { as: operator, path, body: answer, headers: { 'if-match': '"1"' } });
  // The same answer again changes nothing.
  await send(signal('guidance_answer', { ...answer, in_reply_to: question_id }), operator);
  await main.call('getQuestion', { as: builder, path, headers: { 'if-none-match': '"2"' } });

  await main.call('listInbox', { as: builder, path: agent });
  const claim = { claimant: 'session-6f1c2a', lease_seconds: 60 };
  const { items } = await main.call('claimInbox', { as: builder, path: agent, body: claim });
  const item_ids = items.map(({ item_id }: { item_id: string }) => item_id);
  await main.call('acknowledgeInbox', { as: builder, path: agent, body: { item_ids } });

  const second = (await send(signal('guidance_request', { question: 'Rename the bucket?' }))).question;
  await main.call('cancelQuestion', { as: operator, path: { question_id: second.question_id }, body: {} });
  await main.call('acknowledgeQuestion', { as: builder, path: { question_id: second.question_id }, body: {} });

  await send(signal('completion', { summary: 'Moved.', evidence: [{ kind: 'commit', ref: '4f2a91c' }] }));
  await main.call('startAttempt', { as: operator, path: agent, body: {} });
  await send(signal('completion', { attempt: 2, summary: 'Moved, with its bucket.' }));
  await main.call('listControlThreads', { as: operator, query: { run_id: 'run-7' } });
  const state = await main.call('getControlThread', { as: builder, path: agent });
  await main.call('getControlThread', { as: builder, path: agent, headers: { 'if-none-match': '*' } });
  const checked = { status: 'passed', done_criteria: 'Tests are green.', attempt: state.attempt };
  await send(signal('validation', checked), operator);
  const stray = { ...agent, agent_name: 'linter' };
  await send({ ...signal('completion'), ...stray }, admin);
  await main.call('withdrawAgent', { as: operator, path: stray, body: {} });
  await main.call('getRun', { as: operator, path: run });
  await main.call('getRun', { as: operator, path: run, headers: { 'if-none-match': '*' } });
  await main.call('closeRun', { as: operator, path: run, body: {} });
  await main.call('listRuns', { as: operator });
}

async function talk(main: Scene, { operator, viewer }: Tokens): Promise<void> {
  const thread = { thread_id: 'release-notes', title: 'Release notes', body: 'Who writes them?', run_id: 'run-8' };
  await main.call('openThread', { as: operator, body: thread });
  await main.call('openThread', { as: operator, body: thread });
  const path = { thread_id: 'release-notes' };
  await main.call('addPost', { as: operator, path, body: { body: 'I do.', state: 'answered' } });
  await main.call('changeThread', { as: operator, path, body: { priority: 'high', assignee: 'ana' } });
  await main.call('getThread', { as: operator, path });
  await main.call('getThread', { as: operator, path, headers: { 'if-none-match': '*' } });
  await main.call('markThreadSeen', { as: viewer, path: { ...path, viewer: 'human:eve' }, body: {} });
  await main.call('listThreads', { as: operator, query: { run_id: 'run-8' } });
  await main.call('listPosts', { as: operator, path });
}

/** Hooks and MCP. */
async function agentsInterfaces(main: Scene, { admin, operator, builder }: Tokens): Promise<void> {
  const run = { run_id: 'run-9', agent_name: 'claude' };
  const asked = await main.call('sendControlSignal', {
    as: admin,
    body: { ...signal('guidance_request', { question: 'Deploy on a Friday?' }), ...run },
  });
  const path = { question_id: asked.question.question_id };
  await main.call('answerQuestion', { as: operator, path, body: { answer: 'On Monday.' } });
  const hook = { as: admin, query: { run: 'run-9' }, body: NEWS };
  await main.call('callClaudeHook', hook);
  await main.call('callClaudeHook', { ...hook, query: { run: 'run-10' } });

  await main.call('callMcp', mcp(builder, 'tools/call', { name: 'status', arguments: {} }));
  await main.call('callMcp', { as: builder, body: { jsonrpc: '2.0', method: 'notifications/initialized' } });
  const ask = { name: 'ask', arguments: { question: 'Which region?' }, progress: 'ask-1' };
  const body = { role: 'agent', runs: 'run-10', agents: 'builder' };
  const { token } = await main.call('createToken', { as: admin, body });
  await main.call('callMcp', mcp(token, 'tools/call', ask));
  await main.other('callMcp', mcp(builder, 'no/such/method', {}));
  await main.other('callMcp', { as: builder, body: { jsonrpc: '1.0', id: 1, method: 'ping' } });
}

/** A request of revision 2026-07-28. */
function mcp(as: string, method: string, given: { name?: string; arguments?: object; progress?: string }): Call {
  const { progress, ...params } = given;
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'shop-agent', version: '1.0.0' },
    'io.modelcontextprotocol/clientCapabilities': {},
    ...(progress && { progressToken: progress }),
  };
  const headers = {
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(params.name && { 'mcp-name': params.name }),
  };
  return { as, headers, body: { jsonrpc: '2.0', id: 1, method, params: { ...params, _meta } } };
}

async function bus(main: Scene, { admin: as }: Tokens): Promise<void> {
  const note = { topic: 'forum.integration.chat', payload: { text: 'builder asks: Which region?' } };
  const { message_id } = await main.call('publishMessage', { as, body: { ...note, message_id: 'chat-1' } });
  await main.call('publishMessage', { as, body: { ...note, message_id: 'chat-1' } });
  const mail = { topic: 'forum.integration.mail', payload: { to: 'nobody@example.com' }, message_key: 'nobody' };
  await main.call('publishMessage', { as, body: { ...mail, message_id: 'mail-1' } });
  await main.call('processMessages', { as, body: {} });
  await main.call('getMessage', { as, path: { message_id } });
  await main.call('listMessages', { as, query: { status: 'dead' } });
  await main.call('getOutboxStats', { as });
  await main.call('replayMessage', { as, path: { message_id: 'mail-1' } });
  await main.call('processMessages', { as, body: {} });
  await main.call('replayMessages', { as, body: { status: 'dead', topic: 'forum.integration.mail' } });
  await main.call('discardMessage', { as, path: { message_id: 'mail-1' } });
  await main.call('listSubscriptions', { as });
  await main.call('replaySubscription', { as, path: { name: 'importer' }, body: { after: 3 } });
  await main.call('deleteSubscription', { as, path: { name: 'importer' } });
  const topic = { topic: 'forum.integration.chat' };
  await main.call('pauseTopic', { as, path: topic });
  await main.call('listTopics', { as });
  await main.call('resumeTopic', { as, path: topic });
}

async function watch(main: Scene, { admin, operator: as }: Tokens): Promise<void> {
  await main.call('listAudit', { as: admin, query: { run_id: 'run-7', limit: 2 } });
  await main.call('listEvents', { as, query: { run_id: 'run-7', limit: 3 } });
  await main.call('streamEvents', { as, query: { after: 3, run_id: 'run-7' }, stream: true });
  await main.call('getStats', { as });
  await main.call('getHealth', { as });
  await main.call('getLiveness');
  await main.call('getReadiness');
  await main.call('getVersion');
  await main.call('getMetrics', { as });
  await main.call('getLlms');
}

async function keepAndErase(main: Scene, { admin: as }: Tokens): Promise<void> {
  const path = { run_id: 'run-13' };
  const body = (type: string, fields: object = {}) => ({ ...signal(type, fields), ...path });
  await main.call('sendControlSignal', { as, body: body('completion', { summary: 'Moved.' }) });
  const checked = { status: 'passed', done_criteria: 'Tests are green.' };
  await main.call('sendControlSignal', { as, body: body('validation', checked) });
  await main.call('exportRun', { as, path });
  await main.refused('RUN_OPEN', 'eraseRun', { as, path });
  await main.call('closeRun', { as, path, body: {} });
  await main.refused('RUN_CHANGED', 'eraseRun', { as, path, query: { up_to: 1 } });
  await main.call('eraseRun', { as, path });
  await main.call('eraseRun', { as, path });
  await main.refused('RUN_ERASED', 'sendControlSignal', { as, body: body('completion') });
}

/** A file that is gone takes no writes. */
async function outage(recorder: Recorder, main: Scene, { admin: as }: Tokens): Promise<void> {
  await recorder.moveAway('main.db');
  await main.other('getHealth', { as });
  await main.refused('SERVICE_UNAVAILABLE', 'sendControlSignal', {
    ...{ as, body: signal('completion', { run_id: 'run-12' }) },
  });
  await main.app.close();
}

/** In a service of its own, which sends. */
async function webhooks(recorder: Recorder): Promise<void> {
  const received: string[] = [];
  const endpoint = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', text => (body += text));
    request.on('end', () => {
      received.push(body);
      response.writeHead(204).end();
    });
  });
  await new Promise<void>(resolve => endpoint.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/forumbus`;
  const sending = await recorder.start({ ROLE: 'all', WEBHOOK_ALLOW_CIDRS: '127.0.0.0/8', POLL_INTERVAL_MS: '50' });
  const as = ADMIN_TOKEN;
  const path = { name: 'chat' };
  await sending.call('createWebhook', { as, body: { ...path, url, event_types: ['forum.question.*'] } });
  await sending.call('getWebhook', { as, path });
  await sending.call('getWebhook', { as, path, headers: { 'if-none-match': '*' } });
  await sending.call('listWebhooks', { as });
  await sending.call('pingWebhook', { as, path });
  await sending.call('sendControlSignal', { as, body: signal('guidance_request', question) });
  // Until it has arrived and its attempt is stored.
  while (!(await settled(sending))) await new Promise(resolve => setTimeout(resolve, 20));
  const { items } = await sending.call('listWebhookDeliveries', { as, path });
  recorder.examples.webhook = JSON.parse(received.at(-1) as string);
  await sending.call('replayWebhook', { as, path, body: { delivery_id: items[0].delivery_id } });
  await sending.refused('DELIVERY_NOT_FOUND', 'replayWebhook', { as, path, body: { delivery_id: 'dlv_999' } });
  await sending.call('rotateWebhookSecret', { as, path, body: { grace_seconds: 3600 } });
  await sending.call('changeWebhook', { as, path, body: { enabled: false } });
  await sending.refused('WEBHOOK_DISABLED', 'replayWebhook', {
    ...{ as, path, body: { missing_since: '2026-11-22T00:00:00.000Z' } },
  });
  await sending.refused('WEBHOOK_EXISTS', 'createWebhook', { as, body: { ...path, url, event_types: ['*'] } });
  await sending.refused('WEBHOOK_NOT_FOUND', 'getWebhook', { as, path: { name: 'none' } });
  await sending.refused('SUBSCRIPTION_SERVED', 'deleteSubscription', { as, path: { name: 'webhook:chat' } });
  await sending.call('deleteWebhook', { as, path });
  await sending.call('getPushKey', { as });
  for (let number = 1; number <= 200; number += 1) {
    await sending.call('createWebhook', { as, body: { name: `chat-${number}`, url, event_types: ['*'] } });
  }
  await sending.refused('TOO_MANY_WEBHOOKS', 'createWebhook', { as, body: { ...path, url, event_types: ['*'] } });
  await sending.app.close();
  endpoint.close();
}

async function settled({ app }: Scene): Promise<boolean> {
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
  const { items } = (await app.inject({ url: '/webhooks/chat/deliveries', headers })).json();
  return items.some(({ status }: { status: string }) => status === 'sent');
}
