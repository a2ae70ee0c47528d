import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun } from '../helpers/runs.ts';

const ana = { type: 'human', name: 'ana' };
const blank = { ticket: null, title: null, done_criteria: null, agents: [] };
const plan = { ticket: 'TCK-1', title: 'Move', done_criteria: 'Tests are green.', agents: ['builder', 'tester'] };

/** Briefs that do not fit, and where. */
const wrong: [name: string, body: unknown, pointer: string][] = [
  ['null', null, ''],
  ['a list', [plan], ''],
  ['a string', 'Move to Europe', ''],
  ['an unknown field', { ...plan, status: 'closed' }, '/status'],
  ['agents that are no list', { agents: 'builder' }, '/agents'],
  ['null for the agents', { agents: null }, '/agents'],
  ['more than 1,000 agents', { agents: Array.from({ length: 1001 }, (_, n) => `agent ${n}`) }, '/agents'],
  ['an agent that is a number', { agents: ['builder', 7] }, '/agents/1'],
  ['an agent that is an object', { agents: [{ name: 'builder' }] }, '/agents/0'],
  ['a blank agent', { agents: ['builder', ' \t'] }, '/agents/1'],
  ['an agent of 201 characters', { agents: ['a'.repeat(201)] }, '/agents/0'],
  ['an agent with NUL', { agents: ['a\u0000'] }, '/agents/0'],
  ['null for the title', { title: null }, '/title'],
  ['a blank title', { title: '\n ' }, '/title'],
  ['a title of 501 characters', { title: 'a'.repeat(501) }, '/title'],
  ['a number for the ticket', { ticket: 1 }, '/ticket'],
  ['a blank ticket', { ticket: ' ' }, '/ticket'],
  ['blank criteria', { done_criteria: '  ' }, '/done_criteria'],
  ['criteria with half a character', { done_criteria: 'a\ud83d' }, '/done_criteria'],
  ['an actor that is a string', { actor: 'ana' }, '/actor'],
  ['an actor of an unknown type', { actor: { type: 'robot', name: 'r2' } }, '/actor/type'],
];

describe.each(engines)('runs on %s', engine => {
  let service: TestApp;
  let runs = 0;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const newRun = () => aRun(service.send, `run-${++runs}`);

  it('begin with a brief, which later ones replace as a whole', async () => {
    const run = newRun();
    const first = await run.brief(plan);
    expect(first).toMatchObject({ status: 201, headers: { location: run.path }, body: { brief: plan, version: 1 } });
    const second = await run.brief({ agents: ['builder'], actor: ana });
    expect(second).toMatchObject({ status: 200, body: { brief: { ...blank, agents: ['builder'] }, ticket: null } });
    expect(second.headers).not.toHaveProperty('location');
    const third = await run.brief();
    expect(third).toMatchObject({ status: 200, body: { brief: blank, version: 3 } });
    expect(await run.snapshot()).toEqual(third.body);
    const events = await run.events('forum.run.briefed');
    expect(events).toMatchObject([
      { payload: plan, actor: { type: 'operator', name: 'operator' }, ticket: 'TCK-1' },
      { payload: { ...blank, agents: ['builder'] }, actor: ana, ticket: null },
      { payload: blank },
    ]);
  });

  it('are as they were when the same brief comes again', async () => {
    const run = newRun();
    const { body } = await run.brief({ ...plan, title: ' Move ', ticket: '\tTCK-1', agents: [' builder', 'tester '] });
    expect(body.brief).toEqual(plan);
    const before = await dump(service.url);
    const { ticket, title, done_criteria } = plan;
    for (const same of [
      plan,
      { agents: ['builder', 'tester'], done_criteria, title, ticket },
      { ...plan, agents: ['builder ', 'tester', 'builder'] },
      { ...plan, actor: ana },
    ]) {
      expect(await run.brief(same)).toMatchObject({ status: 200, body });
    }
    expect(await dump(service.url)).toEqual(before);
    // Which agents there are, and in which order, is part of the brief; so is every character of the criteria.
    expect((await run.brief({ ...plan, agents: ['tester', 'builder', 'tester'] })).body).toMatchObject({ version: 2 });
    expect((await run.brief({ ...plan, done_criteria: ' Tests are green.' })).body).toMatchObject({ version: 3 });
  });

  it('may begin with a signal, and get their brief later', async () => {
    const run = newRun();
    await run.signal('completion', 'builder');
    expect(await run.snapshot()).toMatchObject({ status: 'running', brief: null, ticket: null, version: 1 });
    expect(await run.row()).toMatchObject({ title: null, ticket: null, agents_count: 1 });
    // An empty brief is one, too.
    expect(await run.brief()).toMatchObject({ status: 200, body: { brief: blank, version: 2 } });
    expect(await run.row()).toMatchObject({ agents_count: 1, version: 2 });
  });

  it.each(wrong)('take no brief that is, or has, %s', async (_name, body, pointer) => {
    const run = newRun();
    const answer = await run.brief(body);
    expectProblem(answer, 'VALIDATION_FAILED');
    expect(answer.body.errors).toMatchObject([{ in: 'body', pointer }]);
    expect((await service.send('GET', run.path)).body.code).toBe('RUN_NOT_FOUND');
  });

  it('take no close that has more than an actor', async () => {
    const run = newRun();
    await run.finish('builder');
    for (const body of [{ force: true }, { actor: 'ana' }, null, []]) {
      expectProblem(await run.close(body), 'VALIDATION_FAILED');
    }
    expect(await run.snapshot()).toMatchObject({ status: 'completed' });
  });

  it('have the ticket of their brief, else the first one of an agent', async () => {
    const run = newRun();
    const ticket = async () => {
      const snapshot = await run.snapshot();
      expect(await run.row()).toMatchObject({ ticket: snapshot.ticket });
      return snapshot.ticket;
    };
    await run.signal('completion', 'builder');
    expect(await ticket()).toBeNull();
    await run.signal('completion', 'tester', { ticket: 'TCK-S' });
    await run.signal('completion', 'builder', { ticket: 'TCK-later' });
    expect(await ticket()).toBe('TCK-S');
    await run.brief({ ticket: 'TCK-B' });
    await run.signal('completion', 'auditor', { ticket: 'TCK-latest' });
    expect(await ticket()).toBe('TCK-B');
    await run.brief({ title: 'No ticket' });
    expect(await ticket()).toBe('TCK-S');
  });

  it('are not there before', async () => {
    const before = await dump(service.url);
    expectProblem(await service.send('GET', '/runs/unknown'), 'RUN_NOT_FOUND');
    expectProblem(await service.send('POST', '/runs/unknown/close'), 'RUN_NOT_FOUND');
    for (const id of ['%20', '%00', 'a'.repeat(201)]) {
      expectProblem(await service.send('GET', `/runs/${id}`), 'VALIDATION_FAILED');
      expectProblem(await service.send('PUT', `/runs/${id}`, {}), 'VALIDATION_FAILED');
    }
    expect(await dump(service.url)).toEqual(before);
  });

  it('are closed once, however often', async () => {
    const run = newRun();
    await run.brief(plan);
    for (const agent of plan.agents) await run.finish(agent);
    const first = await run.close();
    expect(first).toMatchObject({ status: 200, body: { status: 'closed', gate: { ready: true, reasons: [] } } });
    const before = await dump(service.url);
    expect(await run.close({ actor: ana })).toMatchObject({ status: 200, body: first.body });
    expect(await dump(service.url)).toEqual(before);
  });

  it('are closed with all their control threads, those included that were closed before', async () => {
    const run = newRun();
    await run.finish('builder');
    await run.finish('tester');
    const [{ thread_id }] = (await run.snapshot()).agents;
    await service.send('PATCH', `/threads/${thread_id}`, { state: 'closed', actor: ana });
    expect((await run.close()).status).toBe(200);
    const closed = await run.events('forum.thread.closed');
    expect(closed.map(({ agent_name }) => agent_name)).toEqual(['builder', 'tester']);
  });

  it('that are closed refuse what would change them, and answer reads', async () => {
    const run = newRun();
    await run.brief(plan);
    const question = await run.ask('builder');
    const { signal: answered } = (await run.signal('guidance_answer', 'builder', { in_reply_to: question })).body;
    for (const agent of plan.agents) await run.finish(agent);
    const { body } = await run.close();
    const before = await dump(service.url);
    expectProblem(await run.brief({ ...plan, title: 'Other' }), 'RUN_CLOSED');
    for (const type of ['guidance_request', 'guidance_answer', 'completion', 'validation']) {
      for (const agent of ['builder', 'newcomer']) expectProblem(await run.signal(type, agent), 'RUN_CLOSED');
    }
    const other = await service.send('PUT', `/questions/${question}/answer`, { answer: 'Asia.' });
    expectProblem(other, 'RUN_CLOSED');
    expectProblem(await run.nextAttempt('builder'), 'RUN_CLOSED');
    // What says nothing new is no change.
    expect(await run.brief(plan)).toMatchObject({ status: 200, body });
    const again = await run.signal('guidance_answer', 'builder', { in_reply_to: question });
    expect(again).toMatchObject({ status: 200, body: { signal: answered } });
    expect(await dump(service.url)).toEqual(before);
    expect(await run.snapshot()).toEqual(body);
    expect(await run.row()).toMatchObject({ status: 'closed', ready: true, agents_count: 2, version: body.version });
    for (const agent of body.agents) {
      expect((await service.send('GET', `/control-threads/run-${runs}/${agent.agent_name}`)).body).toEqual(agent);
      expect((await service.send('GET', `/threads/${agent.thread_id}/posts`)).status).toBe(200);
    }
  });

  it('are told apart by every character of their ids, and found under them', async () => {
    const ids = ['a/b', 'a b', 'a%2Fb', 'A/B', 'x?y=1#z', 'a\\b', '日本', '😀', 'é', '"', '+', 'close'];
    for (const id of ids) {
      const run = aRun(service.send, id);
      const filed = await run.brief({ title: `Title of ${id}` });
      expect(filed).toMatchObject({ status: 201, body: { run_id: id } });
      expect((await service.send('GET', String(filed.headers.location))).body).toEqual(filed.body);
    }
    for (const id of ids) {
      const run = aRun(service.send, id);
      expect((await run.snapshot()).brief.title).toBe(`Title of ${id}`);
      await run.finish(id);
      expect(await run.close()).toMatchObject({ status: 200, body: { run_id: id, status: 'closed' } });
      expect(await run.row()).toMatchObject({ run_id: id, status: 'closed' });
      expect((await run.events('forum.run.closed')).map(event => event.run_id)).toEqual([id]);
    }
    // White space around an id is none of it.
    expect((await service.send('GET', '/runs/%20a%20b%20')).body.run_id).toBe('a b');
  });
});
