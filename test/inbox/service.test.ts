import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { Expiries, startTimed } from '../helpers/expiry.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { bearer, people, withTokens } from '../helpers/tokens.ts';

const operator = { type: 'operator', name: 'ana' };
const builder = { type: 'agent', name: 'builder' };

interface Item {
  item_id: string;
  kind: string;
  question?: { question_id: string };
  post?: { body: string };
}

describe.each(engines)('the inbox of an agent on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  let runs = 0;
  const ownRun = () => `inbox-${++runs}`;
  const send = (run_id: string, type: string, fields: object = {}) =>
    service.send('POST', '/control-signals', signal(type, { run_id, ...fields }));
  const ask = async (run_id: string, fields: object = {}) => (await send(run_id, 'guidance_request', fields)).body;
  const answer = (id: string) => service.send('PUT', `/questions/${id}/answer`, { answer: 'x' });
  const url = (run_id: string) => `/control-threads/${run_id}/builder/inbox`;
  const items = async (run_id: string): Promise<Item[]> => (await service.send('GET', url(run_id))).body.items;
  const claim = async (run_id: string, claimant: string, fields: object = {}): Promise<Item[]> => {
    const { status, body } = await service.send('POST', `${url(run_id)}/claim`, { claimant, ...fields });
    expect(status, JSON.stringify(body)).toBe(200);
    return body.items;
  };
  const acknowledge = async (run_id: string, item_ids: string[]) =>
    (await service.send('POST', `${url(run_id)}/acknowledge`, { item_ids })).body.acknowledged;
  const unread = async (run_id: string) => (await send(run_id, 'completion')).body.inbox.unread;
  /** Three items: an answer, a cancellation and a message. */
  const filled = async () => {
    const run_id = ownRun();
    const first = (await ask(run_id)).question.question_id;
    const { question, thread } = await ask(run_id);
    await answer(first);
    await service.send('POST', `/questions/${question.question_id}/cancel`);
    await service.send('POST', `/threads/${thread.thread_id}/posts`, { body: 'Stop, please.', actor: operator });
    return { run_id, first, second: question.question_id, thread: `/threads/${thread.thread_id}` };
  };
  const kinds = (found: Item[]) => found.map(({ kind }) => kind);
  const ids = (found: Item[]) => found.map(({ item_id }) => item_id);

  it('is empty before the first signal, also for a claim', async () => {
    expect(await items('nothing')).toEqual([]);
    expect(await claim('nothing', 'a')).toEqual([]);
    expect(await acknowledge('nothing', ['item_1', 'x', 'item_99999999999999999999'])).toBe(0);
  });

  it('has what ended and what people say, oldest first', async () => {
    const { run_id, first, second, thread } = await filled();
    const found = await items(run_id);
    expect(found).toMatchObject([
      { kind: 'answered', claimed_until: null, question: { question_id: first, state: 'answered', answer: 'x' } },
      { kind: 'cancelled', claimed_until: null, question: { question_id: second, state: 'cancelled' } },
      { kind: 'message', claimed_until: null, post: { body: 'Stop, please.', actor: operator } },
    ]);
    const { items: posts } = (await service.send('GET', `${thread}/posts`)).body;
    expect(found[2]).toMatchObject({ post: posts.at(-1), at: posts.at(-1).created_at });
    expect(await unread(run_id)).toBe(3);
    const page = (await service.send('GET', `${url(run_id)}?limit=2`)).body;
    expect(page.items).toEqual(found.slice(0, 2));
    const { body } = await service.send('GET', `${url(run_id)}?limit=2&cursor=${page.next_cursor}`);
    expect(body).toEqual({ items: found.slice(2), next_cursor: null });
  });

  it('has nothing that the agent did itself, and nothing of other threads', async () => {
    const run_id = ownRun();
    const { question, thread } = await ask(run_id);
    await ask(run_id, { supersedes: question.question_id });
    await service.send('POST', `/threads/${thread.thread_id}/posts`, { body: 'I work.', actor: builder });
    const system = { type: 'system', name: 'ci' };
    await service.send('POST', `/threads/${thread.thread_id}/posts`, { body: 'Built.', actor: system });
    const talk = { title: 'Talk', body: 'x', run_id, agent_name: 'builder', actor: operator };
    await service.send('POST', '/threads', talk);
    await send(run_id, 'validation', { actor: operator });
    expect(await items(run_id)).toEqual([]);
    expect(await unread(run_id)).toBe(0);
  });

  it('gives an item to one claimant at a time', async () => {
    const { run_id } = await filled();
    const [first] = await claim(run_id, 'a', { limit: 1 });
    expect(first).toMatchObject({ kind: 'answered', claimed_until: expect.any(String) });
    expect(kinds(await claim(run_id, 'b'))).toEqual(['cancelled', 'message']);
    expect(await claim(run_id, 'c')).toEqual([]);
    // Who holds an item may hold it for longer.
    expect(ids(await claim(run_id, 'a'))).toEqual([first?.item_id]);
    const held = (await service.send('GET', url(run_id))).body.items;
    expect(held.map((item: { claimed_until: unknown }) => item.claimed_until)).not.toContain(null);
  });

  it('gives none to two that claim at once', async () => {
    const { run_id } = await filled();
    const claimants = ['a', 'b', 'c', 'd', 'e', 'f'];
    const got = await Promise.all(claimants.map(claimant => claim(run_id, claimant, { limit: 2 })));
    const all = got.flatMap(ids);
    expect(new Set(all).size).toBe(all.length);
    expect(all).toHaveLength(3);
  });

  it('takes an item back when its lease has run out', async () => {
    const { run_id } = await filled();
    const claimed = await claim(run_id, 'a');
    // On PostgreSQL the server's clock counts.
    await sqlBeside(service.url, `update inbox_items set claimed_until = 1 where run_id = '${run_id}'`);
    expect(ids(await claim(run_id, 'b'))).toEqual(ids(claimed));
    expect(await claim(run_id, 'a')).toEqual([]);
  });

  it('ends items, and acknowledges their questions, once', async () => {
    const { run_id, first, second } = await filled();
    const found = ids(await items(run_id));
    expect(await acknowledge(run_id, [...found, 'item_1', 'none'])).toBe(3);
    expect(await items(run_id)).toEqual([]);
    expect(await unread(run_id)).toBe(0);
    for (const id of [first, second]) {
      const { body } = await service.send('GET', `/questions/${id}`);
      expect(body).toMatchObject({ version: 3, acknowledged_at: expect.any(String) });
    }
    const { items: events } = (
      await service.send('GET', `/events?run_id=${run_id}&event_type=forum.question.acknowledged`)
    ).body;
    expect(events.map(({ actor, payload }: { actor: object; payload: object }) => ({ actor, ...payload }))).toEqual([
      { actor: builder, question_id: first },
      { actor: builder, question_id: second },
    ]);
    const before = await dump(service.url);
    expect(await acknowledge(run_id, found)).toBe(0);
    expect(await dump(service.url)).toEqual(before);
  });

  it('loses an item whose question is acknowledged by itself', async () => {
    const { run_id, first } = await filled();
    await service.send('POST', `/questions/${first}/acknowledge`);
    expect(kinds(await items(run_id))).toEqual(['cancelled', 'message']);
    expect(await unread(run_id)).toBe(2);
  });

  it('changes nothing of another agent', async () => {
    const { run_id } = await filled();
    const found = ids(await items(run_id));
    const other = `/control-threads/${run_id}/tester/inbox`;
    expect((await service.send('GET', other)).body.items).toEqual([]);
    expect((await service.send('POST', `${other}/acknowledge`, { item_ids: found })).body).toEqual({ acknowledged: 0 });
    expect(await items(run_id)).toHaveLength(3);
  });

  it('answers a repeated claim under its key as before', async () => {
    const { run_id, thread } = await filled();
    for (let n = 0; n < 3; n += 1) {
      await service.send('POST', `${thread}/posts`, { body: 'x'.repeat(10_000), actor: operator });
    }
    const headers = { 'idempotency-key': `claim-${run_id}` };
    const once = () => service.send('POST', `${url(run_id)}/claim`, { claimant: 'a' }, headers);
    const first = await once();
    const again = await once();
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect(again.body).toEqual(first.body);
    expect(again.body.items).toHaveLength(6);
  });

  it.each([
    ['claim without a claimant', '/claim', {}],
    ['claim for no time', '/claim', { claimant: 'a', lease_seconds: 0 }],
    ['claim for more than an hour', '/claim', { claimant: 'a', lease_seconds: 3601 }],
    ['claim of nothing', '/claim', { claimant: 'a', limit: 0 }],
    ['claim of too much', '/claim', { claimant: 'a', limit: 101 }],
    ['acknowledgement of nothing', '/acknowledge', { item_ids: [] }],
    ['acknowledgement of too much', '/acknowledge', { item_ids: Array(101).fill('item_1') }],
  ])('refuses a %s', async (_, path, body) => {
    expectProblem(await service.send('POST', `${url('r')}${path}`, body), 'VALIDATION_FAILED');
  });
});

describe.each(engines)('an expired question on %s', engine => {
  it('is an item', async () => {
    const [clock, expiries] = [new ManualClock(), new Expiries()];
    const service = await startTimed(engine, { clock, expiries });
    const asked = signal('guidance_request', { expires_in_seconds: 60, default_answer: 'x' });
    const { question } = (await service.send('POST', '/control-signals', asked)).body;
    clock.advance(60_000);
    await expiries.of(question.question_id);
    const { items } = (await service.send('GET', '/control-threads/run-1/builder/inbox')).body;
    expect(items).toMatchObject([
      { kind: 'expired', at: new Date(clock.time).toISOString(), question: { default_applied: true } },
    ]);
    await service.close();
  });
});

describe.each(engines)('the tokens for an inbox on %s', engine => {
  it('are those of its agent, and of people', async () => {
    const service = await startApp(engine);
    const { asAgent, issue } = await withTokens(service);
    const path = '/control-threads/run-1/builder/inbox';
    const own = await asAgent('run-1', 'builder');
    expect((await own('GET', path)).body).toEqual({ items: [], next_cursor: null });
    expect((await own('POST', `${path}/claim`, { claimant: 'a' })).status).toBe(200);
    for (const send of [await asAgent('run-1', 'tester'), await asAgent('run-2', 'builder')]) {
      expectProblem(await send('GET', path), 'FORBIDDEN');
      expectProblem(await send('POST', `${path}/claim`, { claimant: 'a' }), 'FORBIDDEN');
      expectProblem(await send('POST', `${path}/acknowledge`, { item_ids: ['item_1'] }), 'FORBIDDEN');
    }
    const viewer = bearer((await issue({ role: 'viewer', actor: people.viewer })).token);
    expect((await service.send('GET', path, undefined, viewer)).status).toBe(200);
    expectProblem(await service.send('POST', `${path}/claim`, { claimant: 'a' }, viewer), 'FORBIDDEN');
    await service.close();
  });
});
