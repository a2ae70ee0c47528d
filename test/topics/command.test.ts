import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readConfig } from '../../src/config.ts';
import type { Message } from '../../src/outbox/schemas.ts';
import { createServices } from '../../src/services.ts';
import { AttemptCancellation } from '../../src/worker/cancellation.ts';
import { createDispatcher } from '../../src/worker/dispatcher.ts';
import type { HandlerDefinition } from '../../src/worker/handler.ts';
import { startApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { commands } from '../helpers/commands.ts';
import { dump } from '../helpers/database.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

const LEASE_MS = 30_000;
const ana = { type: 'human', name: 'ana' };
const talk = { title: 'Which region?', body: 'Two of them.', actor: ana };

describe.each(engines)('commands on %s', engine => {
  /** A service that handles what is due when it is told to. */
  const start = async (handlers: HandlerDefinition[] = []) => {
    const clock = new ManualClock();
    const service = await startApp(engine, { overrides: { clock, handlers } });
    onTestFinished(service.close);
    const read = async (path: string) => (await service.send('GET', path)).body;
    const bodies = async (threadId: string) =>
      (await read(`/threads/${threadId}/posts?limit=200`)).items?.map((post: { body: string }) => post.body);
    return { clock, service, read, bodies, ...commands(service.send) };
  };

  it('take effect once per message_id, however often they are published', async () => {
    const { service, publish, message, drain, read } = await start();
    const repeat = () =>
      service.send('POST', '/outbox', { topic: 'forum.commands.open_thread', payload: talk, message_id: 'mine' });
    const answers = await Promise.all(Array.from({ length: 8 }, repeat));
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(7).fill(200), 201]);
    await drain();
    expect((await repeat()).body).toMatchObject({ status: 'sent', result: { thread_id: expect.any(String) } });
    await drain();
    const { items } = await read('/threads');
    expect(items).toMatchObject([talk].map(({ title }) => ({ title, posts_count: 1 })));
    expect((await message('mine')).result).toEqual({ thread_id: items[0].thread_id });
    // Another id is another command.
    await publish('open_thread', talk, { message_id: 'yours' });
    await drain();
    expect((await read('/threads')).items).toHaveLength(2);
  });

  it('take effect once when a dead one is replayed after what was wrong has been put right', async () => {
    const { service, publish, message, drain, bodies } = await start();
    const id = await publish('add_post', { thread_id: 'talk', body: 'Too early.', actor: ana });
    await drain();
    expect(await message(id)).toMatchObject({ status: 'dead', attempts: 1, result: null });
    await service.send('POST', '/threads', { ...talk, thread_id: 'talk' });
    for (const status of [200, 409]) {
      expect((await service.send('POST', `/outbox/${id}/replay`)).status).toBe(status);
      await drain();
    }
    expect(await message(id)).toMatchObject({ status: 'sent', generation: 2, last_error: null });
    expect(await bodies('talk')).toEqual([talk.body, 'Too early.']);
  });

  it('take no effect in the hands of a worker that has lost its lease', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    const clock = new ManualClock();
    const log = pino({ level: 'silent' });
    const config = readConfig({ DATABASE_URL, ROLE: 'http', LEASE_MS: String(LEASE_MS) });
    const services = await createServices(config, log, { clock });
    onTestFinished(services.close);
    const { db, delivery } = services;
    const { handlers, deliveries, outbox } = delivery;
    await services.start();
    const { settleWith } = deliveries;
    const random = Math.random;
    const byName = new Map(handlers.map(handler => [handler.name, handler]));
    const dispatch = createDispatcher({ handlers: byName, clock, random, log, tracing: undefined, settleWith });
    const never = new AttemptCancellation();
    const opened = async () => (await services.forum.events.list({ event_type: 'forum.thread.opened' })).items.length;

    await db.write(tx => outbox.publish(tx, { topic: 'forum.commands.open_thread', payload: talk }));
    const [first] = await deliveries.claim(1);
    clock.advance(LEASE_MS + 1);
    const [second] = await deliveries.claim(1);
    if (!first || !second) throw new Error('nothing was due');
    // The lease is somebody else's: too early for the effect, as it is too late once the other one is done.
    expect(await dispatch(first, never)).toEqual({ kind: 'settled', held: false });
    expect(await opened()).toBe(0);
    expect(await dispatch(second, never)).toEqual({ kind: 'settled', held: true });
    expect(await dispatch(first, never)).toEqual({ kind: 'settled', held: false });
    expect(await opened()).toBe(1);
    const { items } = await outbox.list({ topic: 'forum.commands.open_thread' });
    expect(items).toMatchObject([{ status: 'sent', attempts: 2 }]);
  });

  it.each([
    ['open_thread', talk],
    ['control_signal', signal('guidance_request')],
  ])('leave neither an effect nor a mark when the database fails half-way: %s', async (command, payload) => {
    const { service, clock, publish, message, drain } = await start();
    const id = await publish(command, payload);
    const { deliveries: _, messages: _messages, ...before } = await dump(service.url);
    // The counts are the last thing that is written: everything else has been by then.
    await sqlBeside(service.url, 'alter table counts rename to elsewhere');
    await drain();
    await sqlBeside(service.url, 'alter table elsewhere rename to counts');
    expect(await message(id)).toMatchObject({
      ...{ status: 'failed', attempts: 1, result: null, sent_at: null },
      last_error: expect.stringContaining('counts'),
    });
    const { deliveries, messages: _messagesAfter, ...after } = await dump(service.url);
    // A message for an event would be part of the effect.
    expect(deliveries).toHaveLength(1);
    expect({ ...after, sqlite_sequence: undefined }).toEqual({ ...before, sqlite_sequence: undefined });
    clock.advance(3_600_000);
    await drain();
    expect(await message(id)).toMatchObject({ status: 'sent', attempts: 2, result: { thread_id: expect.any(String) } });
    expect((await service.send('GET', '/events?event_type=forum.thread.opened')).body.items).toHaveLength(1);
  });

  it.each([
    ['alone', []],
    ["beside a user's handler of everything", [handler('**', () => {})]],
  ])('keep the order of their key, also when the first ones have to be tried again, %s', async (_name, handlers) => {
    const { service, clock, publish, bodies, drain, read } = await start(handlers);
    const lanes = Array.from({ length: 6 }, (_, n) => `lane-${n}`);
    const texts = ['Second.', 'Third.', 'Fourth.'];
    for (const thread_id of lanes) {
      const key = { message_key: thread_id };
      await publish('open_thread', { ...talk, thread_id }, key);
      for (const body of texts) await publish('add_post', { thread_id, body, actor: ana }, key);
      await publish('close_thread', { thread_id, actor: ana }, key);
    }
    await sqlBeside(service.url, 'alter table counts rename to elsewhere');
    await drain();
    await sqlBeside(service.url, 'alter table elsewhere rename to counts');
    clock.advance(3_600_000);
    await drain();
    const dead = (await read('/outbox?status=dead')).items;
    expect(dead.map(({ last_error }: { last_error: string }) => last_error)).toEqual([]);
    for (const lane of lanes) {
      expect(await bodies(lane)).toEqual([talk.body, ...texts]);
      expect(await read(`/threads/${lane}`)).toMatchObject({ state: 'closed' });
    }
  });

  it("run once beside a user's handler of everything, which is given them as they were published", async () => {
    const seen: Message[] = [];
    const { publish, message, read, drain } = await start([handler('**', received => seen.push(received))]);
    const payload = { ...talk, title: '  Which region?  ' };
    const id = await publish('open_thread', payload, { message_key: 'k' });
    const refused = await publish('add_post', { thread_id: 'nowhere', body: 'Lost.', actor: ana });
    await drain();
    const mine = seen.filter(({ topic }) => topic.startsWith('forum.commands.'));
    expect(mine).toMatchObject([
      { message_id: id, topic: 'forum.commands.open_thread', message_key: 'k', payload, attempts: 1 },
      { message_id: refused, payload: { thread_id: 'nowhere' } },
    ]);
    const { items } = await read('/threads');
    expect(items).toMatchObject([{ title: 'Which region?', posts_count: 1 }]);
    const [{ thread_id }] = items;
    const deliveryOf = async (message_id: string, consumer: string) =>
      (await message(message_id)).deliveries.find((one: { consumer: string }) => one.consumer === consumer);
    expect(await deliveryOf(id, 'forumbus')).toMatchObject({ status: 'sent', result: { thread_id } });
    // They fail apart.
    expect(await deliveryOf(refused, 'forumbus')).toMatchObject({ status: 'dead', attempts: 1 });
    expect(await deliveryOf(refused, '**')).toMatchObject({ status: 'sent', attempts: 1 });
  });
});
