import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { moves, type ThreadState, threadStates } from '../../src/threads/thread.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';

const agent = { type: 'agent', name: 'builder' };
const operator = { type: 'operator', name: 'ana' };

describe.each(engines)('threads on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const open = async (fields: object = {}) =>
    service.send('POST', '/threads', { title: 'Region', body: 'Which one?', actor: agent, ...fields });
  const post = (id: string, fields: object) =>
    service.send('POST', `/threads/${id}/posts`, { body: 'Hm.', actor: operator, ...fields });

  it('are opened with their first post', async () => {
    const { status, headers, body } = await open({ ticket: 'T-1', priority: 'high' });
    expect(status).toBe(201);
    expect(headers.location).toBe(`/threads/${body.thread_id}`);
    expect(body).toMatchObject({
      kind: 'discussion',
      state: 'new',
      priority: 'high',
      posts_count: 1,
      unanswered: true,
      version: 1,
    });
    const posts = (await service.send('GET', `/threads/${body.thread_id}/posts`)).body.items;
    expect(posts).toMatchObject([{ body: 'Which one?', actor: agent, signal_id: null }]);
  });

  it('have their posts in either order, over several pages', async () => {
    const { thread_id } = (await open({ body: '0' })).body;
    for (const body of ['1', '2', '3', '4']) await post(thread_id, { body });
    const walk = async (order: string) => {
      const bodies: string[] = [];
      for (let cursor = ''; ; ) {
        const { body } = await service.send('GET', `/threads/${thread_id}/posts?limit=2${order}${cursor}`);
        bodies.push(...body.items.map((one: { body: string }) => one.body));
        if (body.next_cursor === null) return bodies.join('');
        cursor = `&cursor=${body.next_cursor}`;
      }
    };
    expect([await walk(''), await walk('&order=oldest'), await walk('&order=newest')]).toEqual([
      '01234',
      '01234',
      '43210',
    ]);
    // A cursor goes on in its own order.
    const { next_cursor } = (await service.send('GET', `/threads/${thread_id}/posts?limit=2`)).body;
    const other = await service.send('GET', `/threads/${thread_id}/posts?order=newest&cursor=${next_cursor}`);
    expect(other).toMatchObject({ status: 400, body: { code: 'INVALID_CURSOR' } });
  });

  it("keep a caller's id: the same again finds the thread, another one is refused", async () => {
    const first = await open({ thread_id: 'mine' });
    await post('mine', {});
    const again = await open({ thread_id: 'mine' });
    expect(again).toMatchObject({ status: 200, body: { thread_id: 'mine', version: first.body.version + 1 } });
    expect(await open({ thread_id: 'mine', body: 'Other.' })).toMatchObject({
      status: 409,
      body: { code: 'THREAD_EXISTS' },
    });
    const others = [{ ticket: 'T-1' }, { priority: 'high' }, { run_id: 'run-1' }, { actor: operator }];
    for (const other of others) {
      expect((await open({ thread_id: 'mine', ...other })).body, JSON.stringify(other)).toMatchObject({
        code: 'THREAD_EXISTS',
      });
    }
    // What a thread has become since, and what a repetition leaves out, does not count.
    await service.send('PATCH', '/threads/mine', { priority: 'urgent', actor: operator });
    expect(await open({ thread_id: 'mine', priority: 'normal' })).toMatchObject({ status: 200 });
    for (const thread_id of ['fctrl-x', 'FCTRL-run-2-x', 'fCtRl-', 'Fctrl-run-1-builder-0123456789abcdef']) {
      expect(await open({ thread_id })).toMatchObject({ status: 422, body: { code: 'RESERVED_THREAD_ID' } });
    }
    expect((await open({ thread_id: 'xfctrl-1' })).status).toBe(201);
  });

  it('know whether they are unanswered', async () => {
    const { thread_id } = (await open()).body;
    expect((await post(thread_id, {})).body.thread.unanswered).toBe(false);
    expect((await post(thread_id, { actor: agent })).body.thread.unanswered).toBe(true);
    expect((await post(thread_id, { actor: { type: 'system', name: 'x' } })).body.thread.unanswered).toBe(true);
    expect((await post(thread_id, { actor: agent, state: 'answered' })).body.thread.unanswered).toBe(false);
    expect((await post(thread_id, { actor: agent })).body.thread.unanswered).toBe(true);
  });

  /** A shortest way from `new` to each state. */
  const ways: Record<ThreadState, ThreadState[]> = {
    new: [],
    triaged: ['triaged'],
    waiting_operator: ['waiting_operator'],
    waiting_human: ['waiting_human'],
    answered: ['answered'],
    closed: ['closed'],
  };
  const table = threadStates.flatMap(from => threadStates.map(to => [from, to] as const));

  it.each(table)('move from %s to %s as the table says', async (from, to) => {
    const { thread_id } = (await open()).body;
    for (const state of ways[from]) await post(thread_id, { state });
    const { status, body } = await post(thread_id, { state: to });
    if (from === 'closed') {
      expect({ status, code: body.code }).toEqual({ status: 409, code: 'THREAD_CLOSED' });
    } else if (from === to || moves[from].includes(to)) {
      expect(status).toBe(201);
      expect(body.thread.state).toBe(to);
      expect(body.thread.closed_at === null).toBe(to !== 'closed');
    } else {
      expect({ status, code: body.code, allowed: body.allowed }).toEqual({
        status: 409,
        code: 'TRANSITION_NOT_ALLOWED',
        allowed: moves[from],
      });
      expect((await service.send('GET', `/threads/${thread_id}`)).body.posts_count).toBe(1 + ways[from].length);
    }
  });
});
