import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { Forumbus, verifyWebhook } from '../../src/client/index.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { deadly } from '../helpers/posts.ts';
import { startReceiver, toLoopback } from '../helpers/receiver.ts';
import { listen } from '../helpers/socket.ts';
import { bearer, withTokens } from '../helpers/tokens.ts';

const soon = { timeout: 120_000, interval: 20 };
let service: TestApp;
let url: string;
let client: Forumbus;
let token: string;
beforeAll(async () => {
  service = await startApp('sqlite', { overrides: { handlers: [deadly] } });
  const { first } = await withTokens(service);
  url = `http://127.0.0.1:${await listen(service.app)}`;
  token = first.token;
  client = new Forumbus({ url, token });
  return () => service.close();
});

it('reads and steers runs and agents', async () => {
  const agent = { run_id: 'run/1 ü', agent_name: 'builder' };
  await client.signal.completion(agent);
  const { version } = await client.runs.brief(agent.run_id, { title: 'Move', agents: ['builder', 'tester'] });
  await expect(client.runs.brief(agent.run_id, { title: 'Stay' }, { version: version - 1 })).rejects.toMatchObject({
    code: 'PRECONDITION_FAILED',
  });
  expect(await client.runs.get(agent.run_id)).toMatchObject({ absent_count: 1, brief: { title: 'Move' } });
  expect((await client.runs.list({ status: 'completed' })).items).toHaveLength(0);
  expect((await client.agents.list({ run_id: agent.run_id })).items).toMatchObject([
    { status: 'completed', attempt: 1 },
  ]);
  expect(await client.agents.startAttempt(agent)).toMatchObject({ status: 'working', attempt: 2 });
  expect(await client.agents.withdraw(agent)).toMatchObject({ status: 'withdrawn' });
});

it('talks in threads', async () => {
  const { thread_id, version } = await client.threads.open({ title: 'Hello', body: 'Hello.' });
  const { thread } = await client.threads.addPost(thread_id, { body: 'And more.' });
  expect(thread.posts_count).toBe(2);
  const change = client.threads.change(thread_id, { assignee: 'ana' }, { version });
  await expect(change).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
  expect(await client.threads.change(thread_id, { assignee: 'ana' })).toMatchObject({ assignee: 'ana' });
  const unseen = () => client.threads.list({ queue: 'unseen', viewer: 'operator:root' });
  expect((await unseen()).items.map(one => one.thread_id)).toContain(thread_id);
  await client.threads.seen(thread_id, 'operator:root');
  expect((await unseen()).items.map(one => one.thread_id)).not.toContain(thread_id);
  expect((await client.threads.posts(thread_id)).items.map(({ body }) => body)).toEqual(['Hello.', 'And more.']);
  expect((await client.threads.get(thread_id)).title).toBe('Hello');
});

it('reads the log from its end', async () => {
  await client.threads.open({ title: 'Last', body: 'Last.' });
  const { items } = await client.log.list({ order: 'newest', limit: 2 });
  expect(items.map(({ sequence }) => sequence)).toEqual([(items[1]?.sequence as number) + 1, items[1]?.sequence]);
  expect((await client.log.latest())?.sequence).toBe(items[0]?.sequence);
});

it('repairs deliveries', async () => {
  const topic = 'forum.integration.deadly.client';
  const { message_id } = (await service.send('POST', '/outbox', { topic, payload: {} }, bearer(token))).body;
  while ((await service.send('POST', '/bus/process', {}, bearer(token))).body.claimed > 0);
  const [dead] = (await client.outbox.list({ status: 'dead', topic })).items;
  expect(dead).toMatchObject({ message_id, status: 'dead' });
  expect((await client.outbox.get(message_id)).deliveries).toHaveLength(1);
  expect((await client.outbox.stats()).by_status.dead).toBe(1);
  await client.outbox.replay(message_id, dead?.consumer ?? undefined);
  while ((await service.send('POST', '/bus/process', {}, bearer(token))).body.claimed > 0);
  expect(await client.outbox.discard(message_id, undefined)).toMatchObject({ status: 'discarded' });
  expect((await client.bus.subscriptions()).items.length).toBeGreaterThan(0);
  await client.bus.pause(topic);
  expect((await client.bus.topics()).paused).toEqual([topic]);
  await client.bus.resume(topic);
  expect((await client.bus.topics()).paused).toEqual([]);
});

it('manages webhooks, tries them, and sends what they missed', async () => {
  const sending = await startApp('sqlite', { config: toLoopback });
  onTestFinished(() => sending.close());
  const client = new Forumbus({ url: `http://127.0.0.1:${await listen(sending.app)}` });
  const { url: endpoint, received } = await startReceiver();
  const { secret, version } = await client.webhooks.create({
    ...{ name: 'chat', url: endpoint, event_types: ['forum.question.*'] },
  });
  expect(await client.webhooks.ping('chat')).toMatchObject({ ok: true, status: 204 });
  await verifyWebhook(received[0]?.headers ?? {}, received[0]?.body ?? '', secret);
  const changed = await client.webhooks.change('chat', { event_types: ['forum.thread.*'] }, { version });
  const late = client.webhooks.change('chat', { enabled: false }, { version });
  await expect(late).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
  const rotated = await client.webhooks.rotateSecret('chat', { grace_seconds: 60 });
  expect(rotated.secret).not.toBe(secret);
  expect(await client.webhooks.get('chat')).toMatchObject({
    event_types: changed.event_types,
    secrets: [{ expires_at: null }, { expires_at: expect.any(String) }],
  });

  const { thread_id } = await client.threads.open({
    title: 'Told',
    body: 'Told.',
    actor: { type: 'operator', name: 'ana' },
  });
  const sent = () => client.webhooks.deliveries('chat', { status: 'sent', event_type: 'forum.thread.opened' });
  await expect.poll(async () => (await sent()).items.length, soon).toBe(1);
  expect(JSON.parse(received[1]?.body ?? '').data.thread_id).toBe(thread_id);
  const [{ delivery_id = '' } = {}] = (await sent()).items;
  expect(await client.webhooks.replay('chat', { delivery_id })).toMatchObject({ name: 'chat' });
  await expect.poll(() => received.length, soon).toBe(3);
  expect((await client.webhooks.list({ limit: 1 })).items).toMatchObject([{ name: 'chat' }]);
  expect(await client.webhooks.remove('chat')).toEqual({ name: 'chat', deleted: true });
  await expect(client.webhooks.get('chat')).rejects.toMatchObject({ code: 'WEBHOOK_NOT_FOUND' });
});

it('makes and revokes tokens, and links for browsers', async () => {
  const { token: secret, token_id } = await client.tokens.create({
    role: 'viewer',
    actor: { type: 'human', name: 'vera' },
  });
  const viewer = new Forumbus({ url, token: secret });
  const { path } = await viewer.logins.link();
  expect(await viewer.logins.redeem(path.replace('/#login=', ''))).toMatchObject({ name: 'vera' });
  expect(await viewer.logins.open()).toMatchObject({ name: 'vera', actor: { type: 'human', name: 'vera' } });
  expect(await viewer.logins.close()).toEqual({ logged_out: true, next: null });
  expect((await client.tokens.list()).items.map(one => one.token_id)).toContain(token_id);
  await client.tokens.revoke(token_id);
  await expect(viewer.stats()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
});

it('answers what it has seen only', async () => {
  const agent = new Forumbus({ url, token, run_id: 'run-9', agent_name: 'builder' });
  const asked = await agent.ask({ question: 'Which?', options: ['a', 'b'] }, { wait_seconds: 0 });
  const late = client.answer(asked.question_id, { selected: ['a'] }, { version: asked.version + 1 });
  await expect(late).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
  expect(await client.answer(asked.question_id, { selected: ['a'] }, { version: asked.version })).toMatchObject({
    state: 'answered',
  });
});
