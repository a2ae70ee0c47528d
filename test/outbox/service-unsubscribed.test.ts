import { describe, expect, it, onTestFinished } from 'vitest';
import type { HandlerDefinition } from '../../src/worker/handler.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { Counter, handler } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';

describe.each(engines)('what nobody subscribes to, on %s,', engine => {
  const start = async (
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
  const publish = (service: TestApp, message_id: string, message_key = 'k') =>
    service.send('POST', '/outbox', { topic: 'orders.new', payload: message_id, message_id, message_key });
  const messages = async (service: TestApp) => (await service.send('GET', '/outbox')).body.items;

  it('has no delivery if it is an event, and counts as nothing', async () => {
    const service = await start('all');
    await ask(service);
    expect(await messages(service)).toEqual([]);
    const [event] = (await service.send('GET', '/events')).body.items;
    const id = event.event_id.replace('evt_', 'msg_');
    expect((await service.send('GET', `/outbox/${id}`)).body).toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
    const { by_status, oldest_pending_at } = (await service.send('GET', '/outbox/stats')).body;
    expect(by_status).toEqual({ pending: 0, processing: 0, failed: 0, dead: 0, discarded: 0, sent: 0 });
    expect(oldest_pending_at).toBe(null);
    expect((await service.send('POST', '/bus/process')).body).toMatchObject({ claimed: 0 });
  });

  it('is not given to a later subscription if it is an event, unless that begins at the start of the log', async () => {
    const database = await forThisTest(scratchDatabase(engine));
    const publisher = await start('http', { database });
    await ask(publisher);
    await publisher.close();
    const late = new Counter<string>();
    const early = new Counter<string>();
    const topic = ['forum.events.question.*', 'forum.events.thread.*'];
    const dispatcher = await start('all', {
      database,
      handlers: [
        handler(topic, message => late.add(message.topic), { name: 'late' }),
        { ...handler(topic, message => early.add(message.topic), { name: 'early' }), from: 'beginning' },
      ],
    });
    await early.reach(2);
    // The handler of the later one comes to what happens from now on, and to that only.
    await dispatcher.send('POST', '/threads', { title: 't', body: 'b', actor: { type: 'human', name: 'ana' } });
    await early.reach(3);
    await late.reach(1);
    expect(late.seen).toEqual(['forum.events.thread.opened']);
    expect(early.seen.toSorted()).toEqual([
      'forum.events.question.opened',
      'forum.events.thread.opened',
      'forum.events.thread.opened',
    ]);
  });

  it('waits if it was published, uses no attempt, and is delivered in order to the first subscription', async () => {
    const database = await forThisTest(scratchDatabase(engine));
    const publisher = await start('all', { database });
    for (const id of ['m1', 'm2', 'm3']) expect((await publish(publisher, id)).status).toBe(201);
    const waits = { status: 'failed', attempts: 0, consumer: null, last_error: 'no handler for topic orders.new' };
    for (const item of await messages(publisher)) expect(item).toMatchObject(waits);
    expect((await publisher.send('GET', '/outbox/m1')).body.deliveries).toHaveLength(1);
    await publisher.send('POST', '/outbox/m2/discard');
    await publisher.close();

    const handled = new Counter<unknown>();
    const dispatcher = await start('all', {
      database,
      handlers: [handler('orders.*', ({ payload, attempts }) => handled.add([payload, attempts]))],
    });
    expect(await handled.reach(2)).toEqual([
      ['m1', 1],
      ['m3', 1],
    ]);
    expect((await dispatcher.send('GET', '/outbox/m2')).body).toMatchObject({ status: 'discarded', consumer: null });
    await publish(dispatcher, 'm4');
    expect((await handled.reach(3)).at(-1)).toEqual(['m4', 1]);
  });
});
