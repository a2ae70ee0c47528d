import { describe, expect, it, onTestFinished } from 'vitest';
import type { Message } from '../../src/outbox/schemas.ts';
import type { HandlerContext, HandlerDefinition } from '../../src/worker/handler.ts';
import { startApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { gate, handler } from '../helpers/handling.ts';
import { sqlBeside } from '../helpers/sql.ts';

type Handle = (message: Message, context: HandlerContext) => unknown;

/** What a handler does, and what becomes of its message. The clock stands still. */
const acts: Record<string, [act: Handle, becomes: object]> = {
  returns: [() => undefined, { status: 'sent', attempts: 1, result: null, last_error: null }],
  'returns something': [() => ({ status: 'dead' }), { status: 'sent', attempts: 1, result: null }],
  records: [(_message, { record }) => record({ made: [1, 'two'] }), { status: 'sent', result: { made: [1, 'two'] } }],
  'records twice': [
    (_message, { record }) => {
      record({ made: 1 });
      record({ made: 2 });
    },
    { status: 'sent', result: { made: 2 } },
  ],
  'records what is no JSON': [
    (_message, { record }) => {
      const circle: Record<string, unknown> = {};
      circle.itself = circle;
      record(circle);
    },
    { status: 'failed', attempts: 1, result: null, last_error: expect.stringContaining('circular') },
  ],
  throws: [
    () => {
      throw new Error('down');
    },
    { status: 'failed', attempts: 1, last_error: 'down', available_at: '2026-11-22T09:00:00.500Z' },
  ],
  'throws no error': [
    () => {
      throw 'up';
    },
    { status: 'failed', attempts: 1, last_error: 'up' },
  ],
  'records and throws': [
    (_message, { record }) => {
      record({ made: 1 });
      throw new Error('after all');
    },
    { status: 'failed', attempts: 1, result: null, last_error: 'after all' },
  ],
  'gives up': [
    (_message, { permanent }) => {
      throw permanent('wrong address');
    },
    { status: 'dead', attempts: 1, last_error: 'wrong address' },
  ],
  'wants another time': [
    (_message, { retryAt }) => {
      throw retryAt('2026-11-22T10:00:00.000Z');
    },
    { status: 'failed', attempts: 0, available_at: '2026-11-22T10:00:00.000Z' },
  ],
  'wants a time that is over': [
    (_message, { retryAt }) => {
      // A duration, by mistake.
      throw retryAt(60_000);
    },
    { status: 'failed', attempts: 0, available_at: '2026-11-22T09:00:01.000Z' },
  ],
  'wants no time': [
    (_message, { retryAt }) => {
      throw retryAt('soon');
    },
    { status: 'failed', attempts: 1, last_error: 'retryAt needs a time, not soon.' },
  ],
};

/** Ways in which a handler may be written. */
const ways: Record<string, (act: Handle) => Handle> = {
  'is not asynchronous': act => act,
  'is asynchronous': act => async (message, context) => act(message, context),
  'ends later': act => async (message, context) => {
    await new Promise(resolve => setImmediate(resolve));
    return act(message, context);
  },
};

const topicOf = (name: string) => name.replaceAll(' ', '-');

describe.each(engines)('a handler on %s', engine => {
  const start = async (handlers: HandlerDefinition[], config: object = {}, clock?: ManualClock) => {
    const overrides = { handlers, random: () => 0, ...(clock && { clock }) };
    const service = await startApp(engine, { config, overrides });
    onTestFinished(service.close);
    const publish = async (topic: string): Promise<string> =>
      (await service.send('POST', '/outbox', { topic, payload: null })).body.message_id;
    const message = async (id: string) => (await service.send('GET', `/outbox/${id}`)).body;
    return { service, publish, message };
  };

  for (const transactional of [false, true]) {
    it.each(Object.keys(ways))(`that %s${transactional ? ', in a transaction,' : ''} says how it ended`, async way => {
      const handlers = Object.entries(acts).map(([name, [act]]) =>
        handler(topicOf(name), ways[way]?.(act) as Handle, { name, transactional }),
      );
      const { service, publish, message } = await start(handlers, {}, new ManualClock());
      const ids = new Map<string, string>();
      for (const name of Object.keys(acts)) ids.set(name, await publish(topicOf(name)));
      await service.send('POST', '/bus/process');
      for (const [name, [, becomes]] of Object.entries(acts)) {
        expect(await message(ids.get(name) as string), name).toMatchObject(becomes);
      }
    });
  }

  it('that hangs and has never asked for its signal ends when its time is over', async () => {
    const policy = { timeout_ms: 20 };
    const { service, publish, message } = await start([handler('slow', () => new Promise(() => {}), { policy })]);
    const id = await publish('slow');
    expect((await service.send('POST', '/bus/process')).body).toMatchObject({ claimed: 1, failed: 1 });
    expect(await message(id)).toMatchObject({
      status: 'failed',
      attempts: 1,
      last_error: 'The handler did not end within 20 ms.',
    });
  });

  /** A handler that looks at its signal only when the gate is open, and tells what it sees. */
  const late = (opened: Promise<void>) => {
    const looked = Promise.withResolvers<AbortSignal>();
    const begun = gate();
    const looking = handler('late', async (_message, context) => {
      begun.open();
      await opened;
      looked.resolve(context.signal);
    });
    return { looking, begun: begun.passed, looked: looked.promise };
  };

  it('that asks for its signal after the lease was lost is told so', async () => {
    const { open, passed } = gate();
    const { looking, begun, looked } = late(passed);
    const told = gate();
    const watching = handler('watching', (_message, { signal }) => {
      signal.addEventListener('abort', told.open);
      return new Promise(() => {});
    });
    const { service, publish } = await start([looking, watching], { ROLE: 'all', LEASE_MS: '2000' });
    // Claimed one after the other: whoever tells the second one has told the first one.
    await publish('late');
    await begun;
    await publish('watching');
    await expect
      .poll(async () => (await service.send('GET', '/outbox?status=processing')).body.items.length, { interval: 5 })
      .toBe(2);
    await sqlBeside(service.url, "update deliveries set lease_token = 'of another worker'");
    await told.passed;
    open();
    const signal = await looked;
    expect(signal.aborted).toBe(true);
    expect(signal.reason.message).toMatch(/lease/);
  });

  it('that asks for its signal after the service has stopped is told so', async () => {
    const { open, passed } = gate();
    const { looking, begun, looked } = late(passed);
    const { service, publish } = await start([looking], { ROLE: 'all', SHUTDOWN_GRACE_MS: '1' });
    await publish('late');
    await begun;
    await service.close();
    open();
    const signal = await looked;
    expect(signal.aborted).toBe(true);
    expect(signal.reason.message).toBe('The service is stopping.');
  });

  it('that asks in time is not', async () => {
    const { open, passed } = gate();
    const { looking, begun, looked } = late(passed);
    const { publish } = await start([looking], { ROLE: 'all' });
    await publish('late');
    await begun;
    open();
    expect((await looked).aborted).toBe(false);
  });
});
