import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { fresh } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';

const ana = { type: 'operator', name: 'ana' };

describe.each(engines)('an agent that is withdrawn on %s', engine => {
  let service: TestApp;
  let run_id: string;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());
  beforeEach(() => {
    run_id = fresh();
  });

  const sent = async (control_type: string, agent_name: string, fields: object = {}) => {
    const answer = await service.send(
      'POST',
      '/control-signals',
      signal(control_type, { run_id, agent_name, ...fields }),
    );
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    return answer.body;
  };
  const withdraw = (agent_name: string, body: object = { actor: ana }, headers = {}) =>
    service.send('POST', `/control-threads/${run_id}/${encodeURIComponent(agent_name)}/withdraw`, body, headers);
  const run = async () => (await service.send('GET', `/runs/${run_id}`)).body;
  const summary = async () => {
    const { items } = (await service.send('GET', '/runs?limit=200')).body;
    return items.find((item: { run_id: string }) => item.run_id === run_id);
  };
  const done = async (agent_name: string) => {
    await sent('completion', agent_name);
    await sent('validation', agent_name);
  };

  it('blocks the gate no longer: its thread closes, its questions are cancelled, an event says so', async () => {
    await done('builder');
    const { question } = await sent('guidance_request', 'made-up');
    expect((await run()).gate.ready).toBe(false);
    const before = await summary();
    expect(before).toMatchObject({ ready: false, agents_count: 2, open_questions_count: 1 });

    const { status, body } = await withdraw('made-up');
    expect(status).toBe(200);
    expect(body).toMatchObject({ agent_name: 'made-up', status: 'withdrawn', open_questions: [] });
    expect(await run()).toMatchObject({ status: 'completed', gate: { ready: true, reasons: [] } });
    expect(await summary()).toMatchObject({ ready: true, agents_count: 1, open_questions_count: 0 });
    expect((await service.send('GET', `/questions/${question.question_id}`)).body.state).toBe('cancelled');
    expect((await service.send('GET', `/threads/${body.thread_id}`)).body.state).toBe('closed');
    const { items } = (await service.send('GET', `/events?run_id=${run_id}&agent_name=made-up`)).body;
    expect(items.at(-1)).toMatchObject({ event_type: 'forum.agent.withdrawn', actor: ana, payload: {} });

    const late = await service.send(
      'POST',
      '/control-signals',
      signal('completion', { run_id, agent_name: 'made-up' }),
    );
    expectProblem(late, 'THREAD_CLOSED');
    // Its news can still be acknowledged, which changes nothing else.
    await service.send('POST', `/questions/${question.question_id}/acknowledge`, {});
    expect((await service.send('GET', `/control-threads/${run_id}/made-up`)).body.status).toBe('withdrawn');
    const listed = async (status: string) =>
      (await service.send('GET', `/control-threads?run_id=${run_id}&status=${status}`)).body.items.length;
    expect([await listed('withdrawn'), await listed('working'), await listed('validated')]).toEqual([1, 0, 1]);
    expect((await service.send('POST', `/runs/${run_id}/close`, { actor: ana })).status).toBe(200);
  });

  it('stays withdrawn when it is withdrawn again, and with an idempotency key', async () => {
    await done('builder');
    const key = { 'idempotency-key': fresh() };
    const first = await withdraw('builder', { actor: ana }, key);
    await withoutTrace(service.url, async () => {
      const again = await withdraw('builder', { actor: ana }, key);
      expect(again.body).toEqual(first.body);
      expect(again.headers['idempotency-replayed']).toBe('true');
      expect((await withdraw('builder')).body).toEqual(first.body);
    });
  });

  it('leaves no agent behind that could let the run close', async () => {
    await done('builder');
    await withdraw('builder');
    expect(await run()).toMatchObject({ status: 'running', gate: { ready: false, reasons: [{ code: 'NO_AGENTS' }] } });
    expect(await summary()).toMatchObject({ ready: false, agents_count: 0 });
    expectProblem(await service.send('POST', `/runs/${run_id}/close`, { actor: ana }), 'GATE_BLOCKED');
    await done('tester');
    expect(await summary()).toMatchObject({ ready: true, agents_count: 1 });
  });

  it('may be named by the brief, before and after', async () => {
    const brief = (agents: string[]) =>
      service.send('PUT', `/runs/${run_id}`, { agents, done_criteria: 'Tests are green.' });
    await brief(['builder', 'made-up', 'late']);
    await done('builder');
    await sent('guidance_request', 'made-up');
    await withdraw('made-up');
    expect((await run()).gate.reasons).toMatchObject([{ code: 'AGENT_NOT_SEEN', agent_name: 'late' }]);
    expect((await summary()).ready).toBe(false);
    await brief(['builder', 'made-up']);
    expect((await run()).gate).toMatchObject({ ready: true, reasons: [] });
    expect((await summary()).ready).toBe(true);
  });

  it('may have a control thread that was closed before, which nothing else could have mended', async () => {
    await done('builder');
    const { thread } = await sent('guidance_request', 'stuck');
    await service.send('PATCH', `/threads/${thread.thread_id}`, { state: 'closed', actor: ana });
    expect((await run()).gate.ready).toBe(false);
    expect((await withdraw('stuck', {})).body.status).toBe('withdrawn');
    expect((await run()).gate.ready).toBe(true);
  });

  it('was there, in a run that is open', async () => {
    await done('builder');
    expectProblem(await withoutTrace(service.url, () => withdraw('nobody')), 'CONTROL_THREAD_NOT_FOUND');
    await service.send('POST', `/runs/${run_id}/close`, { actor: ana });
    expectProblem(await withoutTrace(service.url, () => withdraw('builder')), 'RUN_CLOSED');
  });
});
