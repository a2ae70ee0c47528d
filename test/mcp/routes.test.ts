import type { Client } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { called, connected, questionOf, revisions } from '../helpers/mcp.ts';
import { fresh } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { bearer, people, withTokens } from '../helpers/tokens.ts';

/** Milliseconds: short enough to wait for, long enough for an answer in between. */
const times = { withProgress: 60_000, silent: 60_000, progressEvery: 20 };

async function listening(engine: 'sqlite' | 'postgres', mcpHoldTimes = times) {
  const service = await startApp(engine, { overrides: { mcpHoldTimes } });
  return { service, origin: await service.app.listen({ port: 0, host: '127.0.0.1' }) };
}

describe.each(engines)('the MCP server on %s', engine => {
  let service: TestApp;
  let origin: string;
  beforeAll(async () => {
    ({ service, origin } = await listening(engine));
  });
  afterAll(() => service.close());

  const asAgent = (run: string, revision: (typeof revisions)[number] = '2026-07-28', agent = 'builder') =>
    connected(`${origin}/mcp?run=${run}&agent=${agent}`, revision);
  const asOperator = (revision: (typeof revisions)[number] = '2026-07-28') => connected(`${origin}/mcp`, revision);
  const questionsOf = async (run: string) => (await service.send('GET', `/questions?run_id=${run}`)).body.items;

  describe.each(revisions)('for clients of revision %s', revision => {
    it('carries a run from its first question to its validation', async () => {
      const run = fresh();
      const [agent, operator] = await Promise.all([asAgent(run, revision), asOperator(revision)]);
      expect((await called(agent, 'status')).text).toMatch(`builder in ${run}: no signal sent yet.`);

      const options = ['eu-west-1', { label: 'us-east-1', description: 'Cheaper.' }];
      const asked = await called(agent, 'ask', { question: 'Which region?', options, wait_seconds: 0 });
      expect(asked).toMatchObject({ isError: false });
      const id = questionOf(asked);
      expect(asked.text).toMatch(`Pending: nobody has answered ${id} yet (asked `);
      expect((await called(agent, 'status')).text).toContain(`- ${id} (`);

      const inbox = await called(operator, 'inbox', { run });
      expect(inbox.text).toMatch(`${id} builder in ${run}, `);
      expect(inbox.text).toMatch('Which region?\n  Options: eu-west-1 | us-east-1');

      const waiting = called(agent, 'wait', { question_id: id });
      const answered = await called(operator, 'answer', { question_id: id, selected: ['eu-west-1'] });
      expect(answered.text).toBe(`Answered; builder in ${run} gets it.`);
      expect((await waiting).text).toMatch(/^Answered by \w+: eu-west-1$/);

      expect(await called(operator, 'answer', { question_id: id, selected: ['us-east-1'] })).toMatchObject({
        isError: true,
        text: expect.stringMatching(/\(ALREADY_ANSWERED\)\.$/),
      });
      const evidence = ['commit:4f1c2ab', 'test_report:reports/unit.xml'];
      const completion = await called(agent, 'signal', { type: 'completion', summary: 'Done.', evidence });
      expect(completion.text).toMatch(/^Recorded\. Gate: blocked\. The work of builder/);
      const validation = { type: 'validation', status: 'passed', done_criteria: 'Tests are green.' };
      expect((await called(agent, 'signal', validation)).text).toBe('Recorded. Gate: ready.');
      expect((await called(agent, 'status')).text).toMatch('validated, attempt 1.');
      const { body } = await service.send('GET', `/control-threads/${run}/builder`);
      expect(body.completion.evidence).toEqual([
        { kind: 'commit', ref: '4f1c2ab' },
        { kind: 'test_report', ref: 'reports/unit.xml' },
      ]);
    });

    it('tells at once, and again, who is waited for', async () => {
      const run = fresh();
      const agent = await asAgent(run, revision);
      const notices: { progress: number; message?: string | undefined }[] = [];
      const several = Promise.withResolvers<void>();
      const asking = called(
        agent,
        'ask',
        { question: 'Now?' },
        {
          onprogress: notice => {
            notices.push(notice);
            if (notices.length === 3) several.resolve();
          },
        },
      );
      await several.promise;
      const [{ question_id, thread_id }] = await questionsOf(run);
      for (const { message } of notices) {
        expect(message).toMatch(new RegExp(`^Waiting for a person to answer ${question_id}, asked \\d+ s ago$`));
      }
      expect(notices.slice(0, 3).map(({ progress }) => progress)).toEqual([0, 1, 2]);
      await service.send('PUT', `/questions/${question_id}/answer`, { answer: 'Now.' });
      expect((await asking).text).toBe('Answered by operator: Now.');

      const then = questionOf(await called(agent, 'ask', { question: 'And then?', wait_seconds: 0 }));
      await service.send('PATCH', `/threads/${thread_id}`, { assignee: 'vera', actor: people.operator });
      const message = await new Promise<string | undefined>(resolve => {
        const onprogress = (notice: { message?: string | undefined }) => resolve(notice.message);
        called(agent, 'wait', { question_id: then, wait_seconds: 1 }, { onprogress }).catch(() => {});
      });
      expect(message).toMatch(/^Waiting for vera /);
    });
  });

  it('finds the question that is asked again, also with another context, over HTTP and in another revision', async () => {
    const run = fresh();
    const [agent, old] = await Promise.all([asAgent(run), asAgent(run, '2025-11-25')]);
    const asked = { question: 'Which region?', options: ['a', 'b'], wait_seconds: 0 };
    const first = questionOf(await called(agent, 'ask', asked));
    expect(questionOf(await called(agent, 'ask', asked))).toBe(first);
    expect(questionOf(await called(old, 'ask', { ...asked, context: 'Worded anew.' }))).toBe(first);
    const together = Array.from({ length: 8 }, () => called(agent, 'ask', { ...asked, question: 'Which zone?' }));
    expect(new Set((await Promise.all(together)).map(questionOf)).size).toBe(1);
    expect(await questionsOf(run)).toHaveLength(2);
    expect(questionOf(await called(agent, 'ask', { ...asked, options: ['a', 'c'] }))).not.toBe(first);
    // A new attempt may need to know it again.
    await service.send('POST', `/control-threads/${run}/builder/attempts`, {});
    expect(questionOf(await called(agent, 'ask', asked))).not.toBe(first);
  });

  it('finds the question that is open, or whose outcome is untold, however long ago it was asked', async () => {
    const clock = new ManualClock();
    const later = await startApp(engine, { overrides: { clock } });
    onTestFinished(later.close);
    const at = await later.app.listen({ port: 0, host: '127.0.0.1' });
    const run = fresh();
    const agent = await connected(`${at}/mcp?run=${run}&agent=builder`, '2026-07-28');
    const ask = async () => {
      clock.advance(25 * 3_600_000);
      return called(agent, 'ask', { question: 'Which region?', options: ['a', 'b'], wait_seconds: 0 });
    };
    const first = questionOf(await ask());
    expect(questionOf(await ask())).toBe(first);
    await later.send('PUT', `/questions/${first}/answer`, { answer: 'a' });
    expect(await ask()).toMatchObject({ text: 'Answered by operator: a' });
    await later.send('POST', `/control-threads/${run}/builder/attempts`, {});
    const second = questionOf(await ask());
    expect(second).not.toBe(first);
    expect(questionOf(await ask())).toBe(second);
  });

  it('acknowledges what the agent has been told, and leaves what others look at', async () => {
    const run = fresh();
    const [agent, other] = await Promise.all([asAgent(run), asAgent(run, '2026-07-28', 'reviewer')]);
    const id = questionOf(await called(agent, 'ask', { question: 'Now?', wait_seconds: 0 }));
    await service.send('PUT', `/questions/${id}/answer`, { answer: 'Now.' });
    const acknowledged = async () => (await service.send('GET', `/questions/${id}`)).body.acknowledged_at;
    expect((await called(other, 'wait', { question_id: id })).text).toMatch(/^Answered by/);
    expect(await acknowledged()).toBeNull();
    expect((await called(agent, 'ask', { question: 'Now?' })).text).toBe('Answered by operator: Now.');
    await expect.poll(acknowledged).not.toBeNull();
  });

  it('says what became of a question without an answer', async () => {
    const run = fresh();
    const agent = await asAgent(run);
    const ask = async (question: string, more = {}) =>
      questionOf(await called(agent, 'ask', { question, wait_seconds: 0, ...more }));
    const said = async (question_id: string) => (await called(agent, 'wait', { question_id })).text;
    const cancelled = await ask('Cancel me?');
    await service.send('POST', `/questions/${cancelled}/cancel`, {});
    expect(await said(cancelled)).toBe('Cancelled: no answer will come.');
    const old = await ask('Old?');
    await ask('New?', { supersedes: old });
    expect(await said(old)).toBe('Superseded by a later question of yours: no answer will come.');
  });

  it('refuses in one sentence with the code, and goes on', async () => {
    const agent = await asAgent(fresh());
    const refused = async (name: string, args: object) => {
      const { isError, text } = await called(agent, name, args as Record<string, unknown>);
      expect(isError, text).toBe(true);
      return text;
    };
    expect(await refused('ask', {})).toBe('question: is required (VALIDATION_FAILED).');
    expect(await refused('ask', { question: 'Q?', colour: 'red' })).toBe(
      'colour: is not a known field (VALIDATION_FAILED).',
    );
    expect(await refused('ask', { question: 'Q?', default_answer: 'x' })).toMatch(/VALIDATION_FAILED/);
    expect(await refused('ask', { question: 'Q?', context: 'a\0b' })).toBe(
      'context: must be: Text with at least one visible character, no NUL or unpaired surrogate (VALIDATION_FAILED).',
    );
    expect(await refused('ask', { question: 'Q?', supersedes: 'q_1' })).toBe(
      'There is no question q_1 (QUESTION_NOT_FOUND).',
    );
    expect(await refused('wait', { question_id: 'q_1' })).toBe('There is no question q_1 (QUESTION_NOT_FOUND).');
    expect(await refused('signal', { type: 'validation' })).toBe(
      'status is required for a validation (VALIDATION_FAILED).',
    );
    expect(await refused('signal', { type: 'completion', evidence: ['no colon'] })).toMatch(/VALIDATION_FAILED/);
    await expect(agent.callTool({ name: 'answer', arguments: {} })).rejects.toMatchObject({ code: -32602 });
    const operator = await asOperator();
    expect((await called(operator, 'answer', { question_id: 'q_1' })).text).toMatch(/VALIDATION_FAILED/);
  });

  it('stores which call of the host asked, and that the answer came by MCP', async () => {
    const run = fresh();
    const [agent, operator] = await Promise.all([asAgent(run), asOperator()]);
    const asked = { question: 'Who?', wait_seconds: 0 };
    const result = await agent.callTool({
      name: 'ask',
      arguments: asked,
      _meta: { 'claudecode/toolUseId': 'toolu_1' },
    });
    const question_id = questionOf({ meta: result._meta ?? {} });
    await called(operator, 'answer', { question_id, answer: 'Me.' });
    const { body } = await service.send('GET', `/questions/${question_id}`);
    expect(body).toMatchObject({ source: { host: 'claude', tool_use_id: 'toolu_1' }, answered_in: 'mcp' });
  });

  /** A person speaks to the agent. */
  async function tell(run: string, body: string): Promise<void> {
    const { thread_id } = (await service.send('GET', `/control-threads/${run}/builder`)).body;
    const { status } = await service.send('POST', `/threads/${thread_id}/posts`, { body, actor: people.operator });
    expect(status).toBe(201);
  }
  const inboxOf = async (run: string) =>
    (await service.send('GET', `/control-threads/${run}/builder/inbox`)).body.items.length;

  it('gives the agent any news, each once, and tells it that there are some', async () => {
    const run = fresh();
    const agent = await asAgent(run);
    const asked = await called(agent, 'ask', { question: 'Which region?', wait_seconds: 0 });
    const id = questionOf(asked);
    expect((await called(agent, 'wait', { wait_seconds: 0 })).text).toMatch(/^No news yet\./);

    const begun = Promise.withResolvers<string | undefined>();
    const waiting = called(agent, 'wait', {}, { onprogress: ({ message }) => begun.resolve(message) });
    expect(await begun.promise).toBe('Waiting for an answer or a message for builder');
    await tell(run, 'Stop using\nnpm \x1b[31m.');
    expect((await waiting).text).toBe('Message from ana: Stop using\n  npm \\u{1b}[31m.');
    await expect.poll(() => inboxOf(run)).toBe(0);

    await tell(run, 'Use yarn.');
    const hint = '\nYou have other news: call wait without question_id.';
    expect((await called(agent, 'status')).text.endsWith(hint)).toBe(true);
    await service.send('PUT', `/questions/${id}/answer`, { answer: 'Europe.' });
    const both = (await Promise.all([1, 2].map(() => called(agent, 'wait', { wait_seconds: 0 })))).map(
      ({ text }) => text,
    );
    expect(both.toSorted().reverse()).toEqual([
      expect.stringMatching(/^No news yet/),
      `Message from ana: Use yarn.\n${id} (Which region?): Answered by operator: Europe.`,
    ]);
    await expect.poll(() => inboxOf(run)).toBe(0);
    const { body } = await service.send('GET', `/questions/${id}`);
    expect(body.acknowledged_at).not.toBeNull();
    expect((await called(agent, 'wait', { question_id: id })).text).toBe('Answered by operator: Europe.');
  });

  it('takes nothing from the inbox for a client that has gone', async () => {
    const run = fresh();
    const [first, second] = await Promise.all([asAgent(run), asAgent(run)]);
    await called(first, 'signal', { type: 'completion' });
    const begun = Promise.withResolvers<void>();
    const cut = called(first, 'wait', {}, { onprogress: () => begun.resolve() });
    cut.catch(() => {});
    await begun.promise;
    await first.close();
    await Promise.allSettled([cut]);
    await tell(run, 'Stop.');
    expect((await called(second, 'wait', {})).text).toBe('Message from ana: Stop.');
  });

  it('stores a report once, until the work is validated', async () => {
    const run = fresh();
    const agent = await asAgent(run);
    const signals = async () =>
      (await service.send('GET', `/events?run_id=${run}&event_type=forum.control.signal`)).body.items.length;
    const complete = () => called(agent, 'signal', { type: 'completion', summary: 'Done.' });
    const validate = (status: string) =>
      called(agent, 'signal', { type: 'validation', status, done_criteria: 'Tests are green.' });
    expect((await complete()).text).toMatch(/^Recorded/);
    expect((await complete()).text).toMatch(/^Already recorded/);
    expect(await signals()).toBe(1);
    expect((await validate('failed')).text).toMatch(/^Recorded/);
    expect((await validate('failed')).text).toMatch(/^Already recorded/);
    expect((await complete()).text).toMatch(/^Recorded/);
    expect((await validate('passed')).text).toMatch(/^Recorded/);
    expect((await validate('failed')).text).toMatch(/^Recorded/);
    expect(await signals()).toBe(5);
  });

  it('takes POST only, from no foreign page, one message at a time', async () => {
    for (const method of ['GET', 'DELETE'] as const) {
      const answer = await service.send(method, '/mcp');
      expectProblem(answer, 'METHOD_NOT_ALLOWED');
      expect(answer.headers.allow).toBe('POST');
    }
    const message = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
    const from = (headers: Record<string, string>) => service.send('POST', '/mcp', message, headers);
    expectProblem(await from({ origin: 'https://evil.example' }), 'ORIGIN_NOT_ALLOWED');
    expect((await from({ origin: 'http://localhost:80', host: 'localhost:80' })).status).toBe(200);
    expectProblem(await service.send('POST', '/mcp', [message, message]), 'VALIDATION_FAILED');
    expectProblem(await service.send('POST', '/mcp?team=a', message), 'VALIDATION_FAILED');
  });

  it('ends as pending when the time is up, and when the service stops', async () => {
    const brief = { withProgress: 40, silent: 10, progressEvery: 10 };
    const { service: own, origin: at } = await listening(engine, brief);
    const url = `${at}/mcp?run=run-1&agent=builder`;
    const agent = await connected(url, '2026-07-28');
    expect((await called(agent, 'ask', { question: 'Now?' })).text).toMatch(/^Pending/);
    expect((await called(agent, 'ask', { question: 'Now?' }, { onprogress: () => {} })).text).toMatch(/^Pending/);
    await own.close();

    const { service: second, origin: there } = await listening(engine);
    const held = await connected(`${there}/mcp?run=run-1&agent=builder`, '2025-11-25');
    const begun = Promise.withResolvers<void>();
    const asking = called(held, 'ask', { question: 'Now?' }, { onprogress: () => begun.resolve() });
    await begun.promise;
    await second.close();
    expect((await asking).text).toMatch(/^Pending/);
  });
});

describe('tokens', () => {
  let service: TestApp;
  let origin: string;
  let tokens: Awaited<ReturnType<typeof withTokens>>;
  beforeAll(async () => {
    ({ service, origin } = await listening('sqlite'));
    tokens = await withTokens(service);
  });
  afterAll(() => service.close());

  const connect = async (token: string, names = '', revision: (typeof revisions)[number] = '2026-07-28') =>
    connected(`${origin}/mcp${names}`, revision, bearer(token));
  const agentToken = async (runs: string, agents: string) =>
    (await tokens.issue({ role: 'agent', runs, agents })).token;
  const namesOf = async (client: Client) => (await client.listTools()).tools.map(({ name }) => name);

  it('decide which tools there are', async () => {
    const person = async (role: keyof typeof people) => (await tokens.issue({ role, actor: people[role] })).token;
    const forAgents = ['ask', 'wait', 'signal', 'status'];
    expect(await namesOf(await connect(await agentToken('run-1', 'builder')))).toEqual(forAgents);
    expect(await namesOf(await connect(await person('operator')))).toEqual(['inbox', 'answer']);
    expect(await namesOf(await connect(await person('admin')))).toEqual(['inbox', 'answer']);
    const viewer = await connect(await person('viewer'));
    expect(await namesOf(viewer)).toEqual(['inbox']);
    expect((await called(viewer, 'inbox')).isError).toBe(false);
    await expect(viewer.callTool({ name: 'answer', arguments: {} })).rejects.toMatchObject({ code: -32602 });
  });

  it('say who calls, and leave to the URL what they leave open', async () => {
    const one = await connect(await agentToken('run-2', 'builder'));
    const id = questionOf(await called(one, 'ask', { question: 'Who?', wait_seconds: 0 }));
    const { body } = await tokens.admin('GET', `/questions/${id}`);
    expect(body).toMatchObject({ run_id: 'run-2', agent_name: 'builder' });

    const other = await connect(await agentToken('run-2', 'builder'), '?run=run-3&agent=reviewer');
    expect((await called(other, 'status')).text).toMatch(/^builder in run-2/);

    const several = await agentToken('run-*', 'builder');
    const unnamed = await called(await connect(several), 'ask', { question: 'Who?' });
    expect(unnamed.text).toMatch(/must name the run, as .* \(VALIDATION_FAILED\)\.$/);
    const named = await connect(several, '?run=run-4');
    expect((await called(named, 'status')).text).toMatch(/^builder in run-4/);
    const foreign = await connect(several, '?run=other&agent=builder');
    expect((await called(foreign, 'status')).text).toBe('The token is not for the run other (FORBIDDEN).');
    expect((await called(named, 'wait', { question_id: id, wait_seconds: 0 })).text).toMatch(/Pending/);
  });

  it('are two people if two must answer', async () => {
    const agent = await connect(await agentToken('run-9', 'builder'));
    const person = async (name: string) =>
      connect((await tokens.issue({ role: 'operator', actor: { type: 'operator', name } })).token);
    const [ana, ben] = [await person('ana'), await person('ben')];
    const asked = { question: 'Delete it?', options: ['Yes', 'No'], approvals: 2, wait_seconds: 0 };
    const question_id = questionOf(await called(agent, 'ask', asked));
    expect((await called(ana, 'inbox', { run: 'run-9' })).text).toContain('0 of 2: two people must give');
    const given = { question_id, selected: ['Yes'] };
    const standing = '1 of 2: ana answered “Yes”; another person must give the same answer.';
    expect((await called(ana, 'answer', given)).text).toBe(`Taken, ${standing}`);
    expect((await called(ana, 'answer', given)).text).toBe(`Taken, ${standing}`);
    expect((await called(ben, 'inbox', { run: 'run-9' })).text).toContain(`  ${standing}`);
    const pending = (await called(agent, 'wait', { question_id, wait_seconds: 0 })).text;
    expect(pending).toMatch(/^Pending: only 1 of 2 people agree on q_\w+ yet/);
    expect(pending).not.toContain('Yes');
    expect((await called(agent, 'status')).text).toContain('(1 of 2, missing: one more person other than ana).');
    expect((await called(ben, 'answer', given)).text).toBe('Answered; builder in run-9 gets it.');
    expect((await called(agent, 'ask', asked)).text).toBe('Answered by ben: Yes');
  });

  it('hide what belongs to other runs', async () => {
    const id = questionOf(
      await called(await connect(await agentToken('run-5', 'builder')), 'ask', { question: 'Mine?', wait_seconds: 0 }),
    );
    const other = await connect(await agentToken('run-6', 'builder'));
    expect((await called(other, 'wait', { question_id: id })).text).toBe(
      `There is no question ${id} (QUESTION_NOT_FOUND).`,
    );
  });

  it('are asked for by a 401, and their end ends a wait', async () => {
    const answer = await service.send('POST', '/mcp', { jsonrpc: '2.0', id: 1, method: 'tools/list' });
    expectProblem(answer, 'UNAUTHORIZED');
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer/);

    const issued = await tokens.issue({ role: 'agent', runs: 'run-7', agents: 'builder' });
    const agent = await connect(issued.token);
    const question_id = questionOf(await called(agent, 'ask', { question: 'Long?', wait_seconds: 0 }));
    const begun = Promise.withResolvers<void>();
    const waiting = called(agent, 'wait', { question_id }, { onprogress: () => begun.resolve() });
    await begun.promise;
    await tokens.revoke(issued);
    expect((await waiting).text).toMatch(/\(UNAUTHORIZED\)\.$/);
  });

  it('let no page of another origin in', async () => {
    const headers = { ...bearer(await agentToken('run-9', 'builder')), origin: 'https://evil.example' };
    const message = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
    expectProblem(await service.send('POST', '/mcp', message, headers), 'ORIGIN_NOT_ALLOWED');
    const own = { ...headers, origin: 'http://localhost:80' };
    expect((await service.send('POST', '/mcp', message, own)).status).toBe(200);
  });

  it('are named by what is written', async () => {
    const issued = await tokens.issue({ role: 'agent', runs: 'run-8', agents: 'builder' });
    const agent = await connect(issued.token);
    await called(agent, 'signal', { type: 'completion' });
    const { body } = await tokens.admin('GET', '/events?run_id=run-8');
    expect(new Set(body.items.map(({ token_id }: { token_id: string }) => token_id))).toEqual(
      new Set([issued.token_id]),
    );
  });

  it('of an origin that may call get in from its pages', async () => {
    const own = await startApp('sqlite', { config: { CORS_ORIGINS: 'https://inbox.example' } });
    onTestFinished(own.close);
    const headers = { origin: 'https://inbox.example' };
    const message = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
    expect((await own.send('POST', '/mcp', message, headers)).status).toBe(200);
  });
});
