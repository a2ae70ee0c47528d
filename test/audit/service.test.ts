import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import { permissions } from '../../src/access/permissions.ts';
import type { AuditEntry } from '../../src/audit/schemas.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { exampleRequests } from '../helpers/operations.ts';
import { deadly, fresh } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { bearer, people, type Tokens, withTokens } from '../helpers/tokens.ts';

const DAY = 86_400_000;

/** Operations that change something, with what their examples change. */
const writing = Object.values(openapi.paths).flatMap(methods =>
  Object.entries(methods as Record<string, { operationId: string }>)
    .filter(([method]) => method !== 'get')
    .map(([, { operationId }]) => operationId),
);
/** Their examples change nothing, or by requests inside of them. */
const WITHOUT_ENTRY = ['callMcp', 'callClaudeHook', 'claimInbox', 'closeSession'];

describe.each(engines)('the audit trail on %s', engine => {
  let service: TestApp;
  let tokens: Tokens;
  let clock: ManualClock;
  beforeAll(async () => {
    clock = new ManualClock();
    service = await startApp(engine, {
      overrides: { clock, handlers: [deadly] },
    });
    tokens = await withTokens(service);
  });
  afterAll(() => service.close());

  const entries = async (query = ''): Promise<AuditEntry[]> => {
    const { status, body } = await tokens.admin('GET', `/audit?limit=200${query}`);
    expect(status).toBe(200);
    return body.items;
  };
  const latest = async (): Promise<AuditEntry> => (await entries())[0] as AuditEntry;
  /** Polls until the entries that are gathered have been stored. */
  const gathered = (query: string) => expect.poll(() => entries(query), { timeout: 10_000, interval: 50 });

  it('has one entry for each operation that changes something', async () => {
    const examples: Record<string, () => Promise<{ method: 'POST'; url: string; body?: object }>> = exampleRequests(
      tokens.admin,
      'operator:root',
      service.url,
    ) as never;
    for (const operation of writing) {
      const example = await examples[operation]?.();
      if (!example) throw new Error(`There is no example of ${operation}.`);
      const answer = await service.send(example.method, example.url, example.body, {
        ...bearer(tokens.first.token),
        'x-request-id': `of-${operation}`,
      });
      expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
      if (WITHOUT_ENTRY.includes(operation)) continue;
      const of = (list: AuditEntry[]) => list.filter(({ request_id }) => request_id === `of-${operation}`);
      if (['pingWebhook', 'processMessages', 'replayMessages'].includes(operation)) {
        // Equal ones may have been put together.
        await expect.poll(() => entries(`&operation=${operation}`), { timeout: 10_000, interval: 50 }).not.toEqual([]);
        continue;
      }
      const added = of(await entries());
      expect(added.length, operation).toBe(1);
      const byToken = permissions[operation] !== 'anybody';
      expect(added[0]).toMatchObject({
        operation,
        status: answer.status,
        code: null,
        count: 1,
        token_id: byToken ? tokens.first.token_id : null,
        actor: byToken ? people.admin : null,
        address: '127.0.0.1',
        at: new Date(clock.now()).toISOString(),
      });
    }
  });

  it('says what a request was about, and none of its texts or secrets', async () => {
    const agent = await tokens.issue({ role: 'agent', runs: 'run-1', agents: 'builder' });
    expect(await latest()).toMatchObject({ operation: 'createToken', resources: { token_id: agent.token_id } });
    const sends = tokens.as(agent.token);
    const { question } = (
      await sends('POST', '/control-signals', signal('guidance_request', { question: 'zebra', context: 'zebra' }))
    ).body;
    const { question_id, thread_id } = question;
    expect(await latest()).toMatchObject({
      operation: 'sendControlSignal',
      status: 201,
      run_id: 'run-1',
      token_id: agent.token_id,
      actor: { type: 'agent', name: 'builder' },
      resources: { agent_name: 'builder', question_id, thread_id },
    });
    const operator = await tokens.issue({ role: 'operator', actor: people.operator });
    await tokens.as(operator.token)('PUT', `/questions/${question_id}/answer`, { answer: 'zebra' });
    expect(await latest()).toMatchObject({
      operation: 'answerQuestion',
      run_id: 'run-1',
      actor: people.operator,
      resources: { agent_name: 'builder', question_id },
    });
    const secret = await tokens.admin('POST', '/webhooks', {
      name: fresh(),
      url: 'https://localhost/zebra',
      event_types: ['forum.**'.slice(0, 7)],
    });
    expect(JSON.stringify(await entries())).not.toMatch(/zebra|whsec_/);
    expect(JSON.stringify(await entries())).not.toContain(agent.token.slice(-64));
    expect(secret.status).toBeLessThan(500);
  });

  it('has no entry of a request that changes nothing, or is repeated', async () => {
    const key = { 'idempotency-key': fresh() };
    const run_id = fresh();
    const sent = signal('completion', { run_id });
    const first = await tokens.admin('POST', '/control-signals', sent, key);
    const { number } = await latest();
    const again = await tokens.admin('POST', '/control-signals', sent, key);
    expect(again.body).toEqual(first.body);
    await tokens.admin('PUT', `/runs/${run_id}`, { title: 'x' });
    await tokens.admin('PUT', `/runs/${run_id}`, { title: 'x' });
    expectProblem(await tokens.admin('POST', `/runs/${run_id}/close`), 'GATE_BLOCKED');
    await tokens.admin('POST', `/control-threads/${run_id}/builder/inbox/claim`, { claimant: 'me' });
    expect((await entries()).filter(entry => entry.number > number)).toMatchObject([{ operation: 'fileBrief' }]);
  });

  it('has no entry of a topic, a webhook or a subscription that is as it should be already', async () => {
    const webhook = { name: fresh(), url: 'https://hooks.example/', event_types: ['*'] };
    const { body } = await tokens.admin('POST', '/webhooks', webhook);
    const topic = `/bus/topics/${fresh()}`;
    const { number } = await latest();
    await tokens.admin('POST', `${topic}/resume`);
    for (const act of ['pause', 'pause', 'resume', 'resume']) await tokens.admin('POST', `${topic}/${act}`);
    const same = await tokens.admin('PATCH', `/webhooks/${webhook.name}`, { enabled: true, url: webhook.url });
    expect(same.body).toEqual((({ secret: _, ...shown }) => shown)(body));
    await tokens.admin('POST', '/bus/subscriptions/forumbus/replay', { after: 2 ** 40 });
    const since = (await entries()).filter(entry => entry.number > number);
    expect(since.map(({ operation }) => operation)).toEqual(['resumeTopic', 'pauseTopic']);
  });

  it('finds entries by token, run, operation and time, newest first, page by page', async () => {
    clock.advance(1000);
    const run_id = fresh();
    const { token, token_id } = await tokens.issue({ role: 'operator', actor: people.operator });
    const operator = tokens.as(token);
    clock.advance(1000);
    const since = new Date(clock.now()).toISOString();
    for (const agent_name of ['a', 'b', 'c']) {
      await operator('POST', '/control-signals', signal('completion', { run_id, agent_name }));
    }
    await operator('PUT', `/runs/${run_id}`, { title: 'x' });
    await tokens.admin('PUT', `/runs/${run_id}`, { title: 'y' });
    const names = async (query: string) => (await entries(query)).map(({ operation }) => operation);
    const sent = ['sendControlSignal', 'sendControlSignal', 'sendControlSignal'];
    expect(await names(`&run_id=${run_id}`)).toEqual(['fileBrief', 'fileBrief', ...sent]);
    expect(await names(`&token_id=${token_id}`)).toEqual(['fileBrief', ...sent]);
    expect(await names(`&since=${since}`)).toEqual(['fileBrief', 'fileBrief', ...sent]);
    expect(await names(`&since=${since}&operation=fileBrief`)).toEqual(['fileBrief', 'fileBrief']);
    expect(await names(`&run_id=${run_id}&token_id=${token_id}&operation=sendControlSignal`)).toEqual(sent);
    clock.advance(1);
    expect(await names(`&since=${new Date(clock.now()).toISOString()}`)).toEqual([]);
    const paged: number[] = [];
    for (let cursor = ''; ; ) {
      const { items, next_cursor } = (await tokens.admin('GET', `/audit?run_id=${run_id}&limit=2${cursor}`)).body;
      paged.push(...items.map(({ number }: AuditEntry) => number));
      if (next_cursor === null) break;
      cursor = `&cursor=${next_cursor}`;
    }
    expect(paged).toEqual((await entries(`&run_id=${run_id}`)).map(({ number }) => number));
    expect(paged).toEqual(paged.toSorted((a, b) => b - a));
    for (const role of ['viewer', 'operator'] as const)
      expectProblem(await (await tokens.asPerson(role))('GET', '/audit'), 'FORBIDDEN');
  });

  it('shows what a token was refused, and a flood of that as one entry', async () => {
    const { token, token_id } = await tokens.issue({ role: 'agent', runs: 'run-1', agents: 'builder' });
    const agent = tokens.as(token);
    for (let count = 0; count < 5; count += 1) await agent('GET', '/stats');
    await agent('POST', '/control-signals', signal('completion', { run_id: 'run-2' }));
    for (let count = 0; count < 50; count += 1) await agent('GET', `/runs/other-${count}`);
    await service.send('GET', '/stats', undefined, bearer(`fbt_${'0'.repeat(16)}_${'0'.repeat(64)}`));
    const common = { status: 403, code: 'FORBIDDEN', actor: { type: 'agent', name: 'builder' }, address: '127.0.0.1' };
    await gathered(`&token_id=${token_id}&operation=getStats`).toMatchObject([
      { ...common, count: 5, request_id: null },
    ]);
    await gathered(`&token_id=${token_id}&operation=sendControlSignal`).toMatchObject([
      { ...common, count: 1, run_id: 'run-2' },
    ]);
    const put = async () => {
      const all = await entries();
      const runs = all.filter(({ operation, token_id: of }) => operation === 'getRun' && of === token_id);
      const rest = all.filter(({ operation }) => operation === '*').reduce((sum, { count }) => sum + count, 0);
      expect(runs.length).toBeLessThan(50);
      return runs.length + rest;
    };
    await expect.poll(put, { timeout: 10_000, interval: 50 }).toBe(50);
  });

  it('records an answer by a tool of MCP', async () => {
    const { question_id } = (await tokens.admin('POST', '/control-signals', signal('guidance_request'))).body.question;
    const params = { name: 'answer', arguments: { question_id, answer: 'Europe.' } };
    await tokens.admin('POST', '/mcp', { jsonrpc: '2.0', id: 1, method: 'tools/call', params });
    expect(await latest()).toMatchObject({ operation: 'callMcp', run_id: 'run-1', resources: { question_id } });
  });
});

describe.each(engines)('a worker on %s', engine => {
  it('forgets entries past their retention', async () => {
    const clock = new ManualClock();
    const config = { ROLE: 'all', AUDIT_RETENTION_DAYS: '30', POLL_INTERVAL_MS: '20' };
    const service = await startApp(engine, { overrides: { clock }, config });
    onTestFinished(() => service.close());
    const runs = async (query = '') =>
      (await service.send('GET', `/audit${query}`)).body.items.map(({ run_id }: AuditEntry) => run_id);
    for (const run of ['run-1', 'run-2']) await service.send('PUT', `/runs/${run}`, { title: 'x' });
    clock.advance(30 * DAY);
    await service.send('PUT', '/runs/run-3', { title: 'x' });
    expect(await runs()).toEqual(['run-3', 'run-2', 'run-1']);
    clock.advance(1);
    await expect.poll(() => runs(), { timeout: 10_000, interval: 20 }).toEqual(['run-3']);
    await service.send('PUT', '/runs/run-4', { title: 'x' });
    expect(await runs()).toEqual(['run-4', 'run-3']);
  });
});

describe('the audit trail of an open service', () => {
  it('names whom a request names', async () => {
    const service = await startApp('sqlite');
    try {
      await service.send('PUT', '/runs/run-1', { title: 'x', actor: people.operator });
      expect((await service.send('GET', '/audit')).body.items).toMatchObject([
        { operation: 'fileBrief', run_id: 'run-1', token_id: null, actor: people.operator },
      ]);
    } finally {
      await service.close();
    }
  });
});
