import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestApp } from '../helpers/app.ts';
import { boundAgent, SECRET, type Things } from '../helpers/bound-agent.ts';
import { engines } from '../helpers/engines.ts';
import { fresh } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { bearer, type Tokens } from '../helpers/tokens.ts';
import { settled, timed } from '../helpers/waits.ts';

describe.each(engines)('what an agent sees on %s', engine => {
  let service: TestApp;
  let tokens: Tokens;
  let token: string;
  let agent: TestApp['send'];
  let foreign: Things;
  beforeAll(async () => {
    ({ service, tokens, token, agent, foreign } = await boundAgent(engine));
  });
  afterAll(() => service.close());

  describe('in lists', () => {
    const lists = [
      '/questions',
      '/questions?state=open',
      '/questions?agent_name=builder',
      '/control-threads',
      '/control-threads?status=awaiting_guidance',
      '/threads',
      '/threads?kind=control',
      '/threads?agent_name=builder',
      `/threads?ticket=${SECRET}%20lion`,
      '/threads?queue=unanswered',
      '/threads?queue=unseen&viewer=agent:builder',
      '/threads?q=lion',
      `/threads?q=${SECRET}`,
      '/events',
      '/events?after=1',
      '/events?agent_name=builder',
      '/events?event_type=forum.run.briefed',
    ];
    const join = (path: string, more: string) => path + (path.includes('?') ? '&' : '?') + more;

    it.each(lists)('%s shows its run alone, page by page', async path => {
      const rows: { run_id: string }[] = [];
      for (let cursor = ''; ; ) {
        const { status, body } = await agent('GET', join(path, `limit=2${cursor}`));
        expect(status).toBe(200);
        rows.push(...body.items);
        if (body.next_cursor === null) break;
        cursor = `&cursor=${body.next_cursor}`;
      }
      expect(new Set(rows.map(row => row.run_id))).toEqual(new Set(path.includes(SECRET) ? [] : ['run-1']));
      expect(JSON.stringify(rows)).not.toContain(SECRET);
      // And as much of it as anybody sees.
      const all = join(path.replace('agent:builder', 'human:nobody'), 'run_id=run-1&limit=200');
      if (!path.includes('unseen')) expect(rows).toEqual((await tokens.admin('GET', all)).body.items);
    });

    it.each(lists)('%s of another run is refused, also with the cursor that somebody else was given', async path => {
      for (const run of ['run-2', '%20run-2', 'run-9'])
        expectProblem(await agent('GET', join(path, `run_id=${run}`)), 'FORBIDDEN');
      expectProblem(await agent('GET', join(path, 'run_id=run-1&run_id=run-2')), 'VALIDATION_FAILED');
      const theirs = (await tokens.admin('GET', join(path, 'limit=1'))).body.next_cursor;
      if (theirs === null) return;
      expectProblem(await agent('GET', join(path, `run_id=run-2&cursor=${theirs}`)), 'FORBIDDEN');
      const { status, body } = await agent('GET', join(path, `cursor=${theirs}`));
      expect(status).toBe(200);
      expect(JSON.stringify(body)).not.toContain(SECRET);
    });

    it('say of which run, if the token has several', async () => {
      const nightly = await tokens.asAgent('run-*', '*');
      for (const path of ['/questions', '/control-threads', '/threads', '/events', '/events/stream']) {
        expectProblem(await nightly('GET', path), 'FORBIDDEN');
      }
      for (const run of ['run-1', 'run-2']) {
        const { items } = (await nightly('GET', `/events?run_id=${run}`)).body;
        expect(items.length).toBeGreaterThan(0);
      }
    });
  });

  it('follows the events of its run alone', async () => {
    const origin = `http://127.0.0.1:${await listen(service.app)}`;
    const after = (await tokens.admin('GET', '/events?limit=200')).body.items.at(-1).sequence;
    const stream = await openStream(origin, `?after=${after}`, undefined, bearer(token));
    const complete = async (run_id: string) =>
      (await tokens.admin('POST', '/control-signals', signal('completion', { run_id }))).body.signal.sequence;
    const expected: number[] = [];
    for (const run of ['run-2', 'run-1', 'run-2', 'run-1']) {
      const sequence = await complete(run);
      if (run === 'run-1') expected.push(sequence);
    }
    expect(await stream.sequences(2)).toEqual(expected);
    for (const query of ['?run_id=run-2', `?run_id=run-2&thread_id=${foreign.thread_id}`]) {
      expect((await openStream(origin, query, '0', bearer(token))).response.statusCode).toBe(403);
    }
  });

  it('waits for its own question, and hears of the answer', async () => {
    const { question } = (await agent('POST', '/control-signals', signal('guidance_request'))).body;
    const waiting = timed(agent('GET', `/questions/${question.question_id}?wait=50`));
    await settled(tokens.admin);
    await tokens.admin('PUT', `/questions/${question.question_id}/answer`, { answer: 'Europe.' });
    expect(await waiting).toMatchObject({ status: 200, body: { answer: 'Europe.' } });
  });

  it('has idempotency keys of its own', async () => {
    const key = { 'idempotency-key': fresh() };
    const talk = { title: SECRET, body: SECRET, run_id: 'run-2' };
    const theirs = await tokens.asAgent('run-2', 'builder');
    const first = await theirs('POST', '/threads', talk, key);
    expect(first.status).toBe(201);
    // The same request is judged anew, and another one is not found to be another.
    expectProblem(await agent('POST', '/threads', talk, key), 'FORBIDDEN');
    const other = await agent('POST', '/threads', { ...talk, title: 'lion', run_id: 'run-1' }, key);
    expect(other.status).toBe(201);
    expect(other.headers['idempotency-replayed']).toBeUndefined();
    const same = await tokens.admin('POST', '/threads', talk, key);
    expect(same.status).toBe(201);
    expect(same.body.thread_id).not.toBe(first.body.thread_id);
    expect((await theirs('POST', '/threads', talk, key)).headers['idempotency-replayed']).toBe('true');
  });

  it('keeps its idempotency keys when it gets a new token', async () => {
    const key = { 'idempotency-key': fresh() };
    const talk = { title: 'Rotation', body: 'Which answer?', run_id: 'run-2' };
    const first = await (await tokens.asAgent('run-2', 'builder'))('POST', '/threads', talk, key);
    expect(first.status).toBe(201);
    const again = await (await tokens.asAgent('run-2', 'builder'))('POST', '/threads', talk, key);
    expect(again).toMatchObject({ status: 201, body: first.body });
    expect(again.headers['idempotency-replayed']).toBe('true');
    const wider = await (await tokens.asAgent('run-2', 'build*'))('POST', '/threads', talk, key);
    expect(wider.headers['idempotency-replayed']).toBeUndefined();
  });
});
