import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import { permissions } from '../../src/access/permissions.ts';
import { actorText } from '../../src/actor.ts';
import type { TestApp } from '../helpers/app.ts';
import { boundAgent, SECRET, type Things } from '../helpers/bound-agent.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { exampleRequests } from '../helpers/operations.ts';
import { deadly, fresh } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { bearer, people, type Tokens } from '../helpers/tokens.ts';

type Send = TestApp['send'];
type Request = [...Parameters<Send>];

const operations = [
  ...new Set(
    Object.values(openapi.paths).flatMap(methods =>
      Object.values(methods as Record<string, { operationId: string }>).map(({ operationId }) => operationId),
    ),
  ),
];

/** What the test looks for in an answer: texts of the other run, its name, and those of things without a run. */
const FOREIGN = new RegExp(`${SECRET}|run-2`, 'i');

/** Requests about the other run, or all runs, by the operations that people of a run may call. */
function foreignRequests({ signal_id, question_id, ended, control, thread_id }: Things, loose: string) {
  const put = (url: string, body: object): Request => ['PUT', url, body];
  const post = (url: string, body: object = {}): Request => ['POST', url, body];
  const lists = (path: string): Request[] => [
    ['GET', `${path}?run_id=run-2`],
    ['GET', `${path}?run_id=%20run-2`],
  ];
  const agent = '/control-threads/run-2/builder';
  const all = [thread_id, control, loose];
  return {
    sendControlSignal: ['completion', 'validation', 'guidance_request', 'guidance_answer'].map(type =>
      post('/control-signals', signal(type, { run_id: 'run-2' })),
    ),
    getControlSignal: [['GET', `/control-signals/${signal_id}`]],
    listQuestions: lists('/questions'),
    getQuestion: [
      ['GET', `/questions/${question_id}`],
      ['GET', `/questions/${question_id}?wait=50`],
      ['GET', `/questions/${ended}?wait=50&after_version=0`],
    ],
    answerQuestion: [put(`/questions/${question_id}/answer`, { answer: 'Europe.' })],
    cancelQuestion: [post(`/questions/${question_id}/cancel`)],
    acknowledgeQuestion: [post(`/questions/${ended}/acknowledge`)],
    listControlThreads: lists('/control-threads'),
    getControlThread: [['GET', agent]],
    startAttempt: [post(`${agent}/attempts`)],
    withdrawAgent: [post(`${agent}/withdraw`)],
    listInbox: [['GET', `${agent}/inbox`]],
    claimInbox: [post(`${agent}/inbox/claim`, { claimant: 'me' })],
    acknowledgeInbox: [post(`${agent}/inbox/acknowledge`, { item_ids: ['1'] })],
    callClaudeHook: [
      post('/hooks/claude?run=run-2&agent=builder', { hook_event_name: 'UserPromptSubmit', session_id: 's-1' }),
    ],
    openThread: [
      post('/threads', { title: 'x', body: 'x', run_id: 'run-2' }),
      post('/threads', { title: 'x', body: 'x' }),
      post('/threads', { title: 'x', body: 'x', run_id: 'run-1', thread_id }),
    ],
    listThreads: lists('/threads'),
    getThread: all.map((id): Request => ['GET', `/threads/${id}`]),
    changeThread: all.map((id): Request => ['PATCH', `/threads/${id}`, { priority: 'high' }]),
    markThreadSeen: all.flatMap(id =>
      Object.values(people).map(who => put(`/threads/${id}/reads/${encodeURIComponent(actorText(who))}`, {})),
    ),
    listPosts: all.map((id): Request => ['GET', `/threads/${id}/posts`]),
    addPost: all.map(id => post(`/threads/${id}/posts`, { body: 'x' })),
    fileBrief: [put('/runs/run-2', { title: 'x' }), put('/runs/run-9', { title: 'x' })],
    listRuns: [],
    exportRun: [['GET', '/runs/run-2/export']],
    getRun: [
      ['GET', '/runs/run-2'],
      ['GET', '/runs/run-2?wait=50&after_version=0'],
    ],
    closeRun: [post('/runs/run-2/close')],
    listEvents: lists('/events'),
    streamEvents: lists('/events/stream'),
    callMcp: [],
    getMe: [],
    createLoginLink: [],
    openSession: [],
    closeSession: [],
  } satisfies Record<string, Request[]>;
}

describe.each(engines)('people of one run on %s', engine => {
  let service: TestApp;
  let tokens: Tokens;
  let own: Things;
  let foreign: Things;
  let loose: string;
  let origin: string;
  /** For run-1, and for it and those that begin alike. */
  const held = { viewer: '', operator: '' };
  const wider = { viewer: '', operator: '' };
  beforeAll(async () => {
    ({ service, tokens, own, foreign, loose } = await boundAgent(engine, { handlers: [deadly] }));
    origin = `http://127.0.0.1:${await listen(service.app)}`;
    for (const role of ['viewer', 'operator'] as const) {
      held[role] = (await tokens.issue({ role, actor: people[role], runs: 'run-1' })).token;
      wider[role] = (await tokens.issue({ role, actor: people[role], runs: 'run-1*' })).token;
    }
    const { admin } = tokens;
    // What a stranger could see of the other run in lists that are about no run.
    const named = { name: SECRET, url: `https://localhost/${SECRET}`, event_types: ['forum.question.*'] };
    await admin('POST', '/webhooks', { ...named, filter: { run_id: 'run-2' } });
    await admin('POST', '/outbox', { topic: `forum.integration.deadly.${SECRET}`, payload: { text: SECRET } });
    await admin('POST', '/outbox', { topic: `forum.integration.${SECRET}`, payload: { text: SECRET } });
    await admin('POST', '/bus/process', {});
    await admin('POST', `/bus/topics/forum.integration.${SECRET}/pause`);
  });
  afterAll(() => service.close());

  const roles = ['viewer', 'operator'] as const;
  const allowed = (role: (typeof roles)[number]) =>
    operations.filter(operation => {
      const rule = permissions[operation];
      return rule !== undefined && rule !== 'anybody' && rule[role] && rule.ofRuns;
    });

  it('have a request about the other run for each operation that they may call', () => {
    expect(Object.keys(foreignRequests(foreign, loose)).sort()).toEqual(allowed('operator').sort());
  });

  describe.each(roles)('as a %s', role => {
    /** The whole answer as text, without a stream. */
    async function answered(request: Request, headers: Record<string, string> = {}) {
      const [method, url, body] = request;
      const json = body === undefined ? {} : { payload: JSON.stringify(body) };
      const type = body === undefined ? {} : { 'content-type': 'application/json' };
      const options = { method, url, ...json, headers: { ...type, ...bearer(held[role]), ...headers } };
      if (!url.startsWith('/events/stream')) {
        const { statusCode, payload, headers: more } = await service.app.inject(options);
        return { status: statusCode, text: payload + JSON.stringify(more) };
      }
      const { statusCode, stream, headers: more } = await service.app.inject({ ...options, payloadAsStream: true });
      let text = JSON.stringify(more);
      for await (const chunk of stream().setEncoding('utf8')) {
        text += chunk;
        // All that is there comes at once.
        if (statusCode === 200) break;
      }
      return { status: statusCode, text };
    }

    it('see no byte of another run in any answer about their own, or are refused', async () => {
      const examples: Record<string, () => Promise<{ method: string; url: string; body?: object }>> = exampleRequests(
        tokens.admin,
        actorText(people[role]),
        service.url,
      );
      for (const operation of operations) {
        const example = await examples[operation]?.();
        if (!example) throw new Error(`There is no example of ${operation}.`);
        const request = [example.method, example.url, example.body] as Request;
        // These are about a run of their own, whose name begins so.
        const isWider = ['fileBrief', 'closeRun', 'exportRun'].includes(operation);
        const { status, text } = await answered(request, isWider ? bearer(wider[role]) : {});
        expect(text, operation).not.toMatch(FOREIGN);
        const open = permissions[operation] === 'anybody' || allowed(role).includes(operation);
        expect(status < 300 ? 'let in' : status, operation).toBe(open ? 'let in' : 403);
        if (!open || example.method !== 'GET') continue;
        // Without the filter, and with one of the other run, too.
        const [path = ''] = example.url.split('?');
        expect((await answered(['GET', path])).text, path).not.toMatch(FOREIGN);
      }
    });

    it('are refused, and change nothing, where a request is about another run or none', async () => {
      const requests = Object.entries(foreignRequests(foreign, loose)).filter(([name]) => allowed(role).includes(name));
      await withoutTrace(service.url, async () => {
        for (const [operation, list] of requests) {
          for (const request of list) {
            const { status, text } = await answered(request as Request);
            expect([403, 404, 409], `${operation} ${text}`).toContain(status);
            expect(text, operation).not.toMatch(SECRET);
          }
        }
      });
    });

    it('find nothing of it by words, tickets, assignees, cursors and tags', async () => {
      for (const path of [
        `/threads?q=${SECRET}`,
        '/threads?q=lion',
        '/threads?queue=unanswered',
        `/threads?queue=unseen&viewer=${encodeURIComponent(actorText(people[role]))}`,
        `/threads?ticket=${SECRET}%20lion`,
        `/questions?q=${SECRET}`,
        '/questions?q=lion',
        `/questions?ticket=${SECRET}%20lion`,
        '/questions?agent_name=builder',
        '/questions?state=open&wait=1',
        '/control-threads?status=awaiting_guidance',
        '/events?order=newest',
        '/events?event_type=forum.run.briefed',
        '/events?event_type=forum.token.created',
        `/events?thread_id=${foreign.thread_id}`,
        `/runs?ticket=${SECRET}`,
        '/runs?status=awaiting_guidance',
      ]) {
        const { status, text } = await answered(['GET', path]);
        expect(status, path).toBe(200);
        // A cursor is the caller's own to read.
        const cursors = JSON.parse(text.slice(0, text.lastIndexOf('}{') + 1)).next_cursor ?? '';
        const said = text + Buffer.from(cursors, 'base64url').toString();
        expect(said.replaceAll(foreign.thread_id, '').replaceAll(path, ''), path).not.toMatch(FOREIGN);
        const { next_cursor: theirs } = (await tokens.admin('GET', `${path}${path.includes('?') ? '&' : '?'}limit=1`))
          .body;
        if (theirs === null) continue;
        const join = path.includes('?') ? '&' : '?';
        expect((await answered(['GET', `${path}${join}cursor=${theirs}`])).text).not.toMatch(SECRET);
      }
      const tagged = await answered(['GET', `/threads/${foreign.thread_id}`], { 'if-none-match': '*' });
      expect(tagged.status).toBe(404);
    });

    it('follow their run alone', async () => {
      const after = (await tokens.admin('GET', '/events?order=newest&limit=1')).body.items[0].sequence;
      const stream = await openStream(origin, `?after=${after}`, undefined, bearer(held[role]));
      const waiting = answered(['GET', '/questions?state=open&q=unheard&wait=5']);
      const complete = async (run_id: string) =>
        (await tokens.admin('POST', '/control-signals', signal('completion', { run_id }))).body.signal.sequence;
      const expected: number[] = [];
      for (const run of ['run-2', 'run-1', 'run-2', 'run-1']) {
        const sequence = await complete(run);
        if (run === 'run-1') expected.push(sequence);
      }
      await tokens.admin('POST', '/tokens', { role: 'viewer', actor: { type: 'human', name: SECRET } });
      await tokens.admin(
        'POST',
        '/control-signals',
        signal('guidance_request', { run_id: 'run-2', question: 'unheard' }),
      );
      expect(await stream.sequences(2)).toEqual(expected);
      await tokens.admin('POST', '/control-signals', signal('guidance_request', { question: 'unheard lion' }));
      const { text } = await waiting;
      expect(text).toContain('unheard lion');
      expect(text).not.toMatch(FOREIGN);
    });

    it('use the tools of MCP for their run', async () => {
      const call = (name: string, args: object) =>
        answered(['POST', '/mcp', { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } }]);
      const inbox = await call('inbox', {});
      expect(inbox.text).toContain('lion');
      expect(inbox.text).not.toMatch(FOREIGN);
      expect((await call('inbox', { run: 'run-2' })).text).not.toMatch(SECRET);
      const { text } = await call('answer', { question_id: foreign.question_id, answer: 'Europe.' });
      expect(text).not.toMatch(SECRET);
      expect((await tokens.admin('GET', `/questions/${foreign.question_id}`)).body.state).toBe('open');
    });
  });

  it('may do in their run what their role may', async () => {
    const operator = tokens.as(held.operator);
    const viewer = tokens.as(held.viewer);
    expect((await viewer('GET', '/me')).body).toMatchObject({ role: 'viewer', runs: 'run-1', run_id: 'run-1' });
    const { question } = (await tokens.admin('POST', '/control-signals', signal('guidance_request'))).body;
    const answer = `/questions/${question.question_id}/answer`;
    expectProblem(await viewer('PUT', answer, { answer: 'Europe.' }), 'FORBIDDEN');
    expect((await operator('PUT', answer, { answer: 'Europe.' })).body).toMatchObject({
      state: 'answered',
      answered_by: people.operator,
    });
    const thread = await operator('PATCH', `/threads/${own.thread_id}`, { assignee: 'ana' });
    expect(thread.body.assignee).toBe('ana');
    expect((await viewer('GET', `/threads/${own.thread_id}`)).body).toEqual(thread.body);
    expect((await viewer('GET', '/runs')).body.items.map(({ run_id }: { run_id: string }) => run_id)).toEqual([
      'run-1',
    ]);
  });

  it('of several runs name one in each list, and list their runs by name', async () => {
    const prefix = `team-${fresh()}-`;
    const names = ['b', 'a', 'ü', '\u{1F980}', 'c'].map(end => prefix + end);
    for (const run_id of [...names, 'team', `${prefix.slice(0, -1)}x`]) {
      await tokens.admin('POST', '/control-signals', signal('completion', { run_id }));
    }
    await tokens.admin('PUT', `/runs/${prefix}a`, { ticket: 'T-1' });
    const several = tokens.as((await tokens.issue({ role: 'viewer', actor: people.viewer, runs: `${prefix}*` })).token);
    expect((await several('GET', '/me')).body).toMatchObject({ runs: `${prefix}*`, run_id: null });
    for (const path of ['/questions', '/control-threads', '/threads', '/events', '/events/stream']) {
      expectProblem(await several('GET', path), 'FORBIDDEN');
      expectProblem(await several('GET', `${path}?run_id=run-1`), 'FORBIDDEN');
    }
    expect((await several('GET', `/events?run_id=${prefix}a`)).body.items.length).toBeGreaterThan(0);
    const listed: string[] = [];
    for (let cursor = ''; ; ) {
      const { items, next_cursor } = (await several('GET', `/runs?limit=2${cursor}`)).body;
      listed.push(...items.map(({ run_id }: { run_id: string }) => run_id));
      if (next_cursor === null) break;
      cursor = `&cursor=${next_cursor}`;
    }
    expect(listed).toEqual(names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    expect((await several('GET', '/runs?ticket=T-1')).body.items).toMatchObject([{ run_id: `${prefix}a` }]);
    expect((await several('GET', '/runs?status=closed')).body.items).toEqual([]);
    const before = Buffer.from(JSON.stringify(['runs by name', 'run-1'])).toString('base64url');
    expect((await several('GET', `/runs?cursor=${before}`)).body.items).toHaveLength(names.length);
    const theirs = (await tokens.admin('GET', '/runs?limit=1')).body.next_cursor;
    expectProblem(await several('GET', `/runs?cursor=${theirs}`), 'INVALID_CURSOR');
  });

  it('may be of a run with an asterisk in its name', async () => {
    const literal = await tokens.issue({ role: 'viewer', actor: people.viewer, runs: 'rel-\\*' });
    expect((await tokens.as(literal.token)('GET', '/me')).body).toMatchObject({ run_id: 'rel-*' });
  });
});
