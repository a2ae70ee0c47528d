import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Message } from '../../src/outbox/schemas.ts';
import type { HandlerContext, HandlerDefinition } from '../../src/worker/handler.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { Counter, handler } from '../helpers/handling.ts';
import { sqlBeside } from '../helpers/sql.ts';

const eager = { ROLE: 'all', POLL_INTERVAL_MS: '10', BACKOFF_BASE_MS: '1', BACKOFF_CAP_MS: '1', MAX_ATTEMPTS: '2' };

describe.each(engines)('what becomes of an attempt on %s', engine => {
  let service: TestApp;
  afterEach(() => service.close());

  const start = async (...handlers: HandlerDefinition[]) => {
    service = await startApp(engine, { config: eager, overrides: { handlers, random: () => 0 } });
  };
  const publish = async (topic: string, payload: unknown, rest: object = {}): Promise<string> =>
    (await service.send('POST', '/outbox', { topic, payload, ...rest })).body.message_id;
  const message = async (id: string) => (await service.send('GET', `/outbox/${id}`)).body;
  const until = async (id: string, status: string, what?: string) =>
    expect
      .poll(
        async () => (await message(id)).status,
        what ? { message: what, interval: 5, timeout: 10000 } : { interval: 5, timeout: 10_000 },
      )
      .toBe(status);

  const revoked = () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  };
  const circular: { self?: unknown } = {};
  circular.self = circular;
  const thrown: [what: string, make: (context: HandlerContext) => unknown, error: RegExp][] = [
    [
      'an object without prototype',
      () => Object.assign(Object.create(null), { code: 'E_RATE' }),
      /^{"code":"E_RATE"}$/,
    ],
    ['a message that is no text', () => Object.assign(new Error(), { message: { a: 1 } }), /^Error$/],
    ['a message that cannot be read', () => Object.defineProperty(new Error(), 'message', { get: revoked }), /./],
    ['a revoked proxy', revoked, /cannot be read/],
    ['an error with a cause', () => new TypeError('failed', { cause: new Error('why') }), /^failed; caused by: why$/],
    ['NUL and half a character', () => new Error('a\0\ud83d'), /^a..$/u],
    ['an aggregate', () => new AggregateError([new Error('one'), new Error('two')]), /one; two/],
    ['no reason to go on', ({ permanent }) => permanent({ code: 'E_X' }), /^{"code":"E_X"}$/],
    ['a time that was changed', ({ retryAt }) => Object.assign(retryAt(0), { time: Number.NaN }), /a retry at 1970/],
  ];

  it.each(['synchronous', 'asynchronous', 'transactional'])('a %s handler may throw anything', async kind => {
    const throwing = (received: Message, context: HandlerContext) => {
      const error = thrown[received.payload as number]?.[1](context);
      if (kind === 'synchronous') throw error;
      return Promise.reject(error);
    };
    let postponed = false;
    await start(
      handler(
        'a',
        (received, context) => {
          // Another time is no failure, so it is asked for once.
          if (received.payload !== thrown.length - 1) return throwing(received, context);
          if (postponed) throw context.permanent('asked for a retry at 1970');
          postponed = true;
          return throwing(received, context);
        },
        { transactional: kind === 'transactional' },
      ),
      handler('b', () => {}),
    );
    const ids = await Promise.all(thrown.map((_, n) => publish('a', n)));
    for (const [n, id] of ids.entries()) {
      await until(id, 'dead', thrown[n]?.[0]);
      expect((await message(id)).last_error, thrown[n]?.[0]).toMatch(thrown[n]?.[2] as RegExp);
    }
    await until(await publish('b', null), 'sent');
  });

  it.each<[string, unknown, RegExp]>([
    ['a circle', circular, /circular/],
    ['too much', { text: 'x'.repeat(70_000) }, /70011 characters of JSON/],
    ['no object', 'text', /no JSON object/],
    ['a list', [1], /no JSON object/],
    ['a function', () => {}, /no JSON object/],
    ['a number that JSON lacks', { n: 1n }, /BigInt/],
  ])('a result that is %s fails it', async (_, result, error) => {
    await start(handler('a', (_message, { record }) => record(result as Record<string, unknown>)));
    const id = await publish('a', null);
    await until(id, 'dead');
    expect(await message(id)).toMatchObject({ result: null, last_error: expect.stringMatching(error) });
  });

  it.each([8.64e15, '9999-12-31T23:59:59.999Z', -8.64e15])('a retry at %s leaves every list readable', async time => {
    let asked = false;
    await start(
      handler('a', (_message, { retryAt, permanent }) => {
        // A time in the past is due at once.
        if (asked) throw permanent('again');
        asked = true;
        throw retryAt(time);
      }),
    );
    const id = await publish('a', null);
    await until(id, new Date(time).getTime() < 0 ? 'dead' : 'failed');
    const listed = await service.send('GET', '/outbox');
    expect(listed.status).toBe(200);
    expect(listed.body.items[0].available_at).toMatch(/^\d{4}-/);
    expect((await service.send('POST', `/outbox/${id}/discard`)).status).toBe(200);
  });

  it('what a handler does to its message reaches neither its outcome nor another handler', async () => {
    const seen = new Counter<unknown>();
    const vandal = (name: string) =>
      handler(
        ['a', 'forum.events.thread.opened'],
        (received, { attempt }) => {
          seen.add(structuredClone(received.payload));
          Object.assign(received, { attempts: 99, max_attempts: 0, message_id: 'x', topic: 'y', payload: null });
          for (const key of Object.keys(received)) if (key !== 'payload') Reflect.deleteProperty(received, key);
          if (attempt === 1) throw new Error('once');
        },
        { name },
      );
    const spoil = handler('forum.events.thread.opened', received => {
      const content = received.payload as Record<string, unknown>;
      seen.add(structuredClone(content));
      for (const key of Object.keys(content)) delete content[key];
    });
    await start(vandal('first.ts'), { ...spoil, name: 'second.ts' }, { ...spoil, name: 'third.ts' });
    const id = await publish('a', { n: 1 });
    await until(id, 'sent');
    expect(await message(id)).toMatchObject({ attempts: 2, payload: { n: 1 } });
    seen.seen.length = 0;
    await service.send('POST', '/threads', { title: 'T', body: 'B', actor: { type: 'human', name: 'ana' } });
    const [first, ...others] = await seen.reach(4);
    expect(first).toMatchObject({ event_type: 'forum.thread.opened' });
    for (const other of others) expect(other).toEqual(first);
  });

  it('an outcome that cannot be stored becomes a retry with that reason, and its company is stored', async () => {
    await start(handler(['a', 'b'], () => {}));
    const refuse =
      engine === 'sqlite'
        ? [
            `create trigger refusing before update on deliveries when new.status = 'sent' and new.topic = 'a'
             begin select raise(abort, 'a rule refuses it'); end`,
          ]
        : [
            `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'a rule refuses it'; end $$`,
            `create trigger refusing before update on deliveries for each row
             when (new.status = 'sent' and new.topic = 'a') execute function refuse()`,
          ];
    for (const statement of refuse) await sqlBeside(service.url, statement);
    const [refused, stored] = await Promise.all([publish('a', null), publish('b', null)]);
    // Two attempts, and no lease of 30 s between them.
    await until(refused, 'dead');
    expect(await message(refused)).toMatchObject({
      attempts: 2,
      last_error: expect.stringMatching(/^The outcome of the attempt could not be stored: a rule refuses it/),
    });
    await until(stored, 'sent');
  });

  it('a transactional handler that hangs holds other writes for seconds at most, and so do many', async () => {
    const begun = new Counter<string>();
    await start(
      handler(
        'hang',
        received => {
          begun.add(received.message_id);
          return new Promise(() => {});
        },
        { transactional: true },
      ),
    );
    const ids = await Promise.all(Array.from({ length: 5 }, () => publish('hang', null)));
    await begun.reach(1);
    const since = performance.now();
    await publish('other', null);
    expect(performance.now() - since).toBeLessThan(4500);
    await vi.waitFor(async () => expect((await message(ids[0] as string)).last_error).not.toBeNull(), 10_000);
    const errors = await Promise.all(ids.map(async id => (await message(id)).last_error));
    expect(errors).toContain('The handler did not end within 3000 ms, the time-out of transactional handlers.');
  }, 30_000);
});
