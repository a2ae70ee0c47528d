import { describe, expect, it, onTestFinished } from 'vitest';
import type { HandlerDefinition } from '../../src/worker/handler.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { Counter, handler } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';

const SIGNAL = 'forum.events.control.signal';
/** The events of an agent's first question. */
const TOPICS = [
  'forum.events.control.signal',
  'forum.events.question.opened',
  'forum.events.state.changed',
  'forum.events.thread.opened',
];

describe('the message of an event that nobody subscribes to', () => {
  const start = async (
    engine: (typeof engines)[number],
    ROLE: 'all' | 'http',
    { handlers = [] as HandlerDefinition[], database = undefined as Scratch | undefined } = {},
  ) => {
    const config = { ROLE, POLL_INTERVAL_MS: '60000' };
    const service = await startApp(engine, { config, overrides: { handlers }, ...(database && { database }) });
    onTestFinished(service.close);
    return service;
  };
  const ask = async (service: TestApp) => {
    const { status, body } = await service.send('POST', '/control-signals', signal('guidance_request'));
    expect(status, JSON.stringify(body)).toBe(201);
  };
  const messages = async (service: TestApp) => (await service.send('GET', '/outbox')).body.items;
  const sentAt = (item: { created_at: string }) => ({ status: 'sent', attempts: 0, sent_at: item.created_at });
  const becomes = (service: TestApp, topic: string) =>
    expect.poll(async () => (await messages(service)).find((item: { topic: string }) => item.topic === topic), {
      interval: 5,
      timeout: 10_000,
    });
  const sent = async (service: TestApp) => (await service.send('GET', '/outbox/stats')).body.by_status.sent;

  it('is sent as it is stored on SQLite, where nobody else dispatches', async () => {
    const service = await start('sqlite', 'all');
    await ask(service);
    const items = await messages(service);
    expect(items.map((item: { topic: string }) => item.topic).toSorted()).toEqual(TOPICS);
    for (const item of items) {
      expect(item).toMatchObject({ ...sentAt(item), consumer: null, generation: 1, last_error: null });
      const detail = (await service.send('GET', `/outbox/${item.message_id}`)).body;
      expect(detail).toEqual({ ...item, traceparent: null, attempt_history: [] });
      expect(item.payload).toMatchObject({ sequence: expect.any(Number) });
    }
    const { by_status, by_topic, oldest_pending_at } = (await service.send('GET', '/outbox/stats')).body;
    expect(by_status).toMatchObject({ pending: 0, processing: 0, failed: 0, dead: 0, discarded: 0, sent: 4 });
    expect(by_topic).toMatchObject(TOPICS.map(topic => ({ topic, pending: 0, sent: 1 })));
    expect(oldest_pending_at).toBe(null);
    // Nor is anything left over for a pass.
    expect((await service.send('POST', '/bus/process')).body).toMatchObject({ claimed: 0 });
    expect((await service.send('GET', '/bus/health')).body.worker).toMatchObject({ processed_total: 0 });
  });

  it('waits on SQLite while its topic is held, and is sent when that is released', async () => {
    const service = await start('sqlite', 'all');
    await service.send('POST', `/bus/topics/${SIGNAL}/pause`);
    await ask(service);
    const items = await messages(service);
    for (const item of items) {
      expect(item).toMatchObject(item.topic === SIGNAL ? { status: 'pending', sent_at: null } : sentAt(item));
    }
    expect(await sent(service)).toBe(3);
    await service.send('POST', `/bus/topics/${SIGNAL}/resume`);
    await becomes(service, SIGNAL).toMatchObject({ status: 'sent', attempts: 1 });
    expect(await sent(service)).toBe(4);
  });

  it('waits on SQLite where nothing is dispatched, and is sent by the next process that does', async () => {
    const database = await forThisTest(scratchDatabase('sqlite'));
    const publisher = await start('sqlite', 'http', { database });
    await ask(publisher);
    for (const item of await messages(publisher)) {
      expect(item).toMatchObject({ status: 'pending', attempts: 0, sent_at: null });
    }
    expect(await sent(publisher)).toBe(0);
    await publisher.close();

    const handled = new Counter<string>();
    const handlers = [handler('forum.events.question.*', ({ topic }) => handled.add(topic))];
    const dispatcher = await start('sqlite', 'all', { database, handlers });
    for (const topic of TOPICS) await becomes(dispatcher, topic).toMatchObject({ status: 'sent', attempts: 1 });
    expect(handled.seen).toEqual(['forum.events.question.opened']);
  });

  it.each(engines)('does not keep those from their handler that somebody does subscribe to, on %s', async engine => {
    const handled = new Counter<number>();
    const handlers = [
      handler(['forum.events.thread.*', 'forum.events.state.*'], ({ payload }) =>
        handled.add((payload as { sequence: number }).sequence),
      ),
    ];
    const service = await start(engine, 'all', { handlers });
    await ask(service);
    const [created, changed] = await handled.reach(2);
    expect(changed).toBeGreaterThan(created as number);
    for (const topic of TOPICS) {
      const attempts = engine === 'postgres' || /[.](thread|state)[.]/.test(topic) ? 1 : 0;
      await becomes(service, topic).toMatchObject({ status: 'sent', attempts });
    }
  });

  it('is dispatched on PostgreSQL, where others may subscribe', async () => {
    const service = await start('postgres', 'all');
    await ask(service);
    for (const topic of TOPICS) await becomes(service, topic).toMatchObject({ status: 'sent', attempts: 1 });
    const [{ message_id }] = await messages(service);
    expect((await service.send('GET', `/outbox/${message_id}`)).body.attempt_history).toHaveLength(1);
  });
});
