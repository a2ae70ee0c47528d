import { sql } from 'kysely';
import { afterEach, describe, expect, it } from 'vitest';
import type { HandlerDefinition } from '../../src/worker/handler.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { Counter, gate, handler } from '../helpers/handling.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

/** A worker that would not poll within the test: what it does, a commit has woken it for. */
const woken = { ROLE: 'all', POLL_INTERVAL_MS: '60000' };
/** A worker that retries at once. */
const eager = { ROLE: 'all', POLL_INTERVAL_MS: '10', BACKOFF_BASE_MS: '1', BACKOFF_CAP_MS: '1', MAX_ATTEMPTS: '3' };

describe.each(engines)('dispatch on %s', engine => {
  let service: TestApp;
  afterEach(() => service.close());

  const start = async (handlers: HandlerDefinition[], config: object = woken) => {
    service = await startApp(engine, { config, overrides: { handlers, random: () => 0 } });
  };
  const publish = async (topic: string, payload: unknown, message_key?: string): Promise<string> =>
    (await service.send('POST', '/outbox', { topic, payload, ...(message_key && { message_key }) })).body.message_id;
  const message = async (id: string) => (await service.send('GET', `/outbox/${id}`)).body;
  /** Waits until the message is as described; the worker settles shortly after a handler has returned. */
  const until = async (id: string, status: string) =>
    expect.poll(async () => (await message(id)).status, { interval: 5, timeout: 10_000 }).toBe(status);

  it('hands an event to the handler of its topic as soon as it has committed', async () => {
    const handled = new Counter<unknown>();
    await start([handler('forum.events.control.signal', received => handled.add(received))]);
    const { body } = await service.send('POST', '/control-signals', signal('completion', { summary: 'Done.' }));
    const [received] = await handled.reach(1);
    const { items } = (await service.send('GET', '/events?event_type=forum.control.signal')).body;
    expect(received).toMatchObject({
      topic: 'forum.events.control.signal',
      message_key: body.thread.thread_id,
      attempts: 1,
      payload: items[0],
    });
  });

  it('makes no delivery of events that nobody subscribes to', async () => {
    const handled = new Counter<string>();
    await start([handler('forum.events.question.*', received => handled.add(received.topic))]);
    await service.send('POST', '/control-signals', signal('guidance_request'));
    expect(await handled.reach(1)).toEqual(['forum.events.question.opened']);
    expect((await service.send('GET', '/outbox')).body.items).toHaveLength(1);
  });

  it('matches patterns of topics', async () => {
    const handled = new Counter<string>();
    await start([handler(['forum.integration.*', 'deep.**'], received => handled.add(received.topic))]);
    for (const topic of ['forum.integration.chat', 'deep.a', 'deep.a.b']) await publish(topic, null);
    expect((await handled.reach(3)).toSorted()).toEqual(['deep.a', 'deep.a.b', 'forum.integration.chat']);
    const other = await publish('forum.integration.a.b', null);
    await until(other, 'failed');
    expect((await message(other)).last_error).toBe('no handler for topic forum.integration.a.b');
  });

  it('retries a failing handler and ends dead after the last attempt, with a history', async () => {
    const attempts = new Counter<string>();
    await start(
      [
        handler('a', (_message, { attempt, idempotency_key }) => {
          attempts.add(`${attempt} ${idempotency_key}`);
          throw new Error(`down ${attempt}`);
        }),
      ],
      eager,
    );
    const id = await publish('a', null);
    await until(id, 'dead');
    expect(attempts.seen).toEqual([`1 ${id}:1:1`, `2 ${id}:1:1`, `3 ${id}:1:1`]);
    const { attempt_history, last_error, attempts: count } = await message(id);
    expect({ last_error, count }).toEqual({ last_error: 'down 3', count: 3 });
    expect(attempt_history.map((entry: { outcome: string }) => entry.outcome)).toEqual(['failed', 'failed', 'dead']);
  });

  it('takes a permanent error for the end and a wish for another time for no attempt', async () => {
    await start(
      [
        handler('hopeless', (_message, { permanent }) => {
          throw permanent('wrong address');
        }),
        handler('later', (received, { retryAt }) => {
          if (received.payload === 'first' && postponed++ === 0) throw retryAt(Date.now() + 1);
        }),
      ],
      eager,
    );
    let postponed = 0;
    const hopeless = await publish('hopeless', null);
    await until(hopeless, 'dead');
    expect(await message(hopeless)).toMatchObject({ attempts: 1, last_error: 'wrong address' });
    const later = await publish('later', 'first');
    await until(later, 'sent');
    expect(await message(later)).toMatchObject({ attempts: 1 });
    expect(postponed).toBe(2);
  });

  it('keeps the order of each key through failures, and lets keys run side by side', async () => {
    const handled = new Counter<string>();
    const failed = new Set<string>();
    let running = 0;
    let most = 0;
    await start(
      [
        handler('a', async received => {
          running += 1;
          most = Math.max(most, running);
          await new Promise(resolve => setImmediate(resolve));
          running -= 1;
          const { key, n } = received.payload as { key: string; n: number };
          // Every third message fails at its first attempt.
          if (n % 3 === 0 && !failed.has(received.message_id)) {
            failed.add(received.message_id);
            throw new Error('once');
          }
          handled.add(`${key}${n}`);
        }),
      ],
      { ...eager, WORKER_CONCURRENCY: '4' },
    );
    const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (let n = 0; n < 12; n += 1) await Promise.all(keys.map(key => publish('a', { key, n }, key)));
    const seen = await handled.reach(12 * keys.length);
    for (const key of keys) {
      const order = seen.filter(item => item.startsWith(key)).map(item => Number(item.slice(1)));
      expect(order).toEqual([...Array(12).keys()]);
    }
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
  });

  it('does not let one key that keeps failing hold up the others', async () => {
    const handled = new Counter<unknown>();
    await start([
      handler('a', received => {
        if (received.message_key === 'stuck') throw new Error('no');
        handled.add(received.payload);
      }),
    ]);
    for (let n = 0; n < 50; n += 1) await publish('a', n, 'stuck');
    for (let n = 0; n < 5; n += 1) await publish('a', n, 'fine');
    expect(await handled.reach(5)).toEqual([0, 1, 2, 3, 4]);
  });

  it.each([
    ['an error', new Error('after the effect')],
    ['undefined', undefined],
  ])(
    'commits the effect of a transactional handler with the sent mark, or neither if it throws %s',
    async (_, thrown) => {
      let calls = 0;
      await start(
        [
          handler(
            'a',
            async (_message, { tx }) => {
              if (!tx) throw new Error('no transaction');
              calls += 1;
              await sql`create table if not exists effects (n integer)`.execute(tx);
              await sql`insert into effects values (1)`.execute(tx);
              if (calls === 1) throw thrown;
            },
            { transactional: true },
          ),
          handler(
            'count',
            async (_message, { tx, permanent }) => {
              if (!tx) throw permanent('no transaction');
              const { rows } = await sql<{ n: number }>`select count(*) as n from effects`.execute(tx);
              throw permanent(`effects: ${rows[0]?.n}`);
            },
            { transactional: true },
          ),
        ],
        eager,
      );
      const id = await publish('a', null);
      await until(id, 'sent');
      expect(await message(id)).toMatchObject({ attempts: 2 });
      const count = await publish('count', null);
      await until(count, 'dead');
      expect((await message(count)).last_error).toBe('effects: 1');
    },
  );

  it('runs one pass on request, also where no worker runs', async () => {
    const config = { ROLE: 'http', MAX_ATTEMPTS: '1' };
    await start(
      [
        handler('good', () => {}),
        handler('bad', () => {
          throw new Error('no');
        }),
      ],
      config,
    );
    for (const topic of ['good', 'bad', 'nobody', 'good', 'good']) await publish(topic, null);
    expect((await service.send('POST', '/bus/process', { limit: 3 })).body).toEqual({
      claimed: 3,
      sent: 2,
      failed: 0,
      dead: 1,
    });
    expect((await service.send('POST', '/bus/process')).body).toEqual({ claimed: 1, sent: 1, failed: 0, dead: 0 });
    expect((await service.send('POST', '/bus/process')).body).toEqual({ claimed: 0, sent: 0, failed: 0, dead: 0 });
  });

  it('shows in health and topics what nobody handles and what is dead', async () => {
    await start([handler('good', () => {}, { name: 'good' })], { ROLE: 'http' });
    const id = await publish('nobody', null);
    await service.send('POST', '/bus/process');
    expect((await service.send('GET', '/bus/topics')).body).toEqual({
      handlers: expect.arrayContaining([
        { handler: 'good', topics: ['good'], transactional: false },
        {
          handler: 'forumbus',
          topics: expect.arrayContaining(['forum.commands.control_signal']),
          transactional: true,
        },
      ]),
      topics_without_handler: ['nobody'],
      paused: [],
    });
    const { status, body } = await service.send('GET', '/bus/health');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      status: 'degraded',
      database: 'ok',
      worker: { running: false, processed_total: 0 },
      outbox: { pending: 0, failed: 1, dead: 0 },
      topics_without_handler: ['nobody'],
    });
    expect((await message(id)).attempts).toBe(0);
  });

  it('keeps a lease while a handler runs longer than it, and aborts a handler whose lease is lost', async () => {
    const started = gate();
    const aborted = gate();
    await start(
      [
        handler('slow', (_message, { signal: lost }) => {
          started.open();
          return new Promise<void>(resolve => {
            lost.addEventListener('abort', () => {
              aborted.open();
              resolve();
            });
          });
        }),
      ],
      // A machine that stands still for two seconds loses none.
      { ...eager, LEASE_MS: '3000' },
    );
    const id = await publish('slow', null);
    await started.passed;
    const ends = new Set<unknown>();
    const renewals = async () => {
      const [row] = await sqlBeside(service.url, 'select claimable_at from deliveries');
      return ends.add(row?.claimable_at).size;
    };
    // The lease is renewed at every third of it: after four new ends the first lease is over.
    await expect.poll(renewals, { interval: 10, timeout: 30_000 }).toBeGreaterThan(4);
    expect(await message(id)).toMatchObject({ status: 'processing', attempts: 1 });
    await sqlBeside(service.url, "update deliveries set lease_token = 'of another worker'");
    await aborted.passed;
    expect(await message(id)).toMatchObject({ status: 'processing', attempts: 1 });
  });

  it('lets two handlers of one topic fail and retry apart, each with the message as it was published', async () => {
    const handled = new Counter<string>();
    const see = (name: string) =>
      handler(
        'a',
        ({ message_id, topic, message_key, payload }, { attempt }) => {
          handled.add(`${name} ${JSON.stringify([message_id, topic, message_key, payload])}`);
          if (name === 'bad' && attempt < 3) throw new Error('no');
        },
        { name },
      );
    await start([see('good'), see('bad')], eager);
    const id = await publish('a', { n: 1 }, 'k');
    await until(id, 'sent');
    expect((await message(id)).deliveries).toMatchObject([
      { status: 'sent', attempts: 3, consumer: 'bad' },
      { status: 'sent', attempts: 1, consumer: 'good' },
    ]);
    const content = JSON.stringify([id, 'a', 'k', { n: 1 }]);
    expect(handled.seen.toSorted()).toEqual([...Array(3).fill(`bad ${content}`), `good ${content}`]);
  });

  it('fails a handler that takes too long, and tells it so', async () => {
    const told = gate();
    await start(
      [
        handler(
          'slow',
          (_message, { signal: late }) => {
            late.addEventListener('abort', told.open);
            return new Promise(() => {});
          },
          { policy: { timeout_ms: 20 } },
        ),
      ],
      { ...eager, MAX_ATTEMPTS: '1' },
    );
    const id = await publish('slow', null);
    await told.passed;
    await until(id, 'dead');
    expect((await message(id)).last_error).toBe('The handler did not end within 20 ms.');
  });

  it('refuses what a transactional handler does with its transaction after it is over', async () => {
    const late = new Counter<Promise<unknown>>();
    const over = gate();
    await start([
      handler(
        'a',
        (_message, { tx }) => {
          // Not awaited: by the time it runs, the write is over.
          if (tx) late.add(over.passed.then(() => sql`select 1`.execute(tx)));
        },
        { transactional: true },
      ),
    ]);
    const id = await publish('a', null);
    await until(id, 'sent');
    over.open();
    const [query] = await late.reach(1);
    await expect(query).rejects.toThrow('The write is over');
  });

  it('holds a paused topic until it is resumed, over a restart', async () => {
    const handled = new Counter<unknown>();
    const handlers = [handler('a', received => handled.add(received.payload))];
    await start(handlers, eager);
    expect((await service.send('POST', '/bus/topics/a/pause')).body).toEqual({ topic: 'a', paused: true });
    const id = await publish('a', 1);
    await service.restart();
    expect((await service.send('GET', '/bus/topics')).body.paused).toEqual(['a']);
    expect(await message(id)).toMatchObject({ status: 'pending', attempts: 0 });
    expect(handled.seen).toEqual([]);
    expect((await service.send('POST', '/bus/topics/a/resume')).body).toEqual({ topic: 'a', paused: false });
    expect(await handled.reach(1)).toEqual([1]);
  });

  it('replays and discards the dead over HTTP, with another key for whoever deduplicates', async () => {
    const keys: string[] = [];
    let broken = true;
    await start(
      [
        handler('a', (_message, { idempotency_key }) => {
          keys.push(idempotency_key);
          if (broken) throw new Error('no');
        }),
      ],
      { ...eager, MAX_ATTEMPTS: '1' },
    );
    const [first, second, third] = [await publish('a', 1), await publish('a', 2), await publish('a', 3)];
    for (const id of [first, second, third]) await until(id, 'dead');
    broken = false;
    expect((await service.send('POST', `/outbox/${first}/replay`)).body).toMatchObject({
      status: 'pending',
      generation: 2,
    });
    expect((await service.send('POST', `/outbox/${second}/discard`)).body).toMatchObject({ status: 'discarded' });
    await until(first, 'sent');
    expect((await service.send('POST', `/outbox/${first}/replay`)).body.code).toBe('MESSAGE_STATUS_CONFLICT');
    expect((await service.send('POST', '/outbox/replay', { status: 'dead', topic: 'b' })).body).toEqual({
      replayed: 0,
    });
    expect((await service.send('POST', '/outbox/replay', { status: 'dead', topic: 'a' })).body).toEqual({
      replayed: 1,
    });
    await until(third, 'sent');
    expect(keys).toEqual([`${first}:1:1`, `${second}:2:1`, `${third}:3:1`, `${first}:1:2`, `${third}:3:2`]);
  });

  it('counts an attempt that outlived its lease, also when nobody else has taken the message', async () => {
    const attempts: number[] = [];
    await start(
      [
        handler('frozen', (_message, { attempt }) => {
          attempts.push(attempt);
          // Nothing of this process runs meanwhile, as when it is stopped: its lease cannot be renewed.
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1300);
          return new Promise(() => {});
        }),
      ],
      { ...eager, LEASE_MS: '1000', MAX_ATTEMPTS: '2' },
    );
    const id = await publish('frozen', null);
    await until(id, 'dead');
    expect(attempts).toEqual([1, 2]);
  });
});
