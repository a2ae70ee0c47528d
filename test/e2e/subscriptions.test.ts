import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { emptyDatabase, engines } from '../helpers/engines.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { handler } from '../helpers/handling.ts';
import { forThisTest, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';

/** What a handler was given: its name, the key, and the sequence of the event or the payload of the message. */
interface Note {
  consumer: string;
  key: string;
  value: number;
}

/** A module that notes in a file what it is given; every third event fails once. */
const noting = (consumer: string, topics: string[]) => `
  import { appendFileSync } from 'node:fs';
  export const topic = ${JSON.stringify(topics)};
  export function handle({ message_key, payload }, { attempt }) {
    const value = payload.sequence ?? payload;
    if (value % 3 === 0 && attempt === 1) throw new Error('not now');
    appendFileSync(process.env.NOTES, JSON.stringify({ consumer: '${consumer}', key: message_key, value }) + '\\n');
  }`;

const within = { timeout: 60_000, interval: 50 };

/** Asks and answers so many questions of an agent. */
async function talk(service: Pick<TestApp, 'send'>, agent_name: string, questions: number): Promise<void> {
  for (let n = 0; n < questions; n += 1) {
    const question = `Question ${n}?`;
    expect(
      (await service.send('POST', '/control-signals', signal('guidance_request', { agent_name, question }))).status,
    ).toBe(201);
    expect((await service.send('POST', '/control-signals', signal('guidance_answer', { agent_name }))).status).toBe(
      201,
    );
  }
}

async function eventsOf(service: Pick<TestApp, 'send'>): Promise<{ sequence: number; event_type: string }[]> {
  return (await service.send('GET', '/events?limit=200')).body.items;
}

/** Each value once, and those of one key in their order. */
function expectInOrder(notes: Note[], values: number[]): void {
  expect(notes.map(({ value }) => value).toSorted((a, b) => a - b)).toEqual(values);
  for (const lane of Map.groupBy(notes, ({ key }) => key).values()) {
    const given = lane.map(({ value }) => value);
    expect(given).toEqual(given.toSorted((a, b) => a - b));
  }
}

/** Processes of the service on one database, each with a folder of handlers of its own. */
async function startFleet(engine: Engine, folders: Record<string, string[]>[]) {
  const { path } = await forThisTest(scratchFolder());
  const NOTES = join(path, 'notes');
  const DATABASE_URL = (await forThisTest(emptyDatabase(engine))).url;
  const settings = { DATABASE_URL, NOTES, BACKOFF_BASE_MS: '20', BACKOFF_CAP_MS: '20', POLL_INTERVAL_MS: '100' };
  const services = [];
  for (const folder of folders) {
    const modules = Object.entries(folder).map(([name, topics]) => [`${name}.mjs`, noting(name, topics)]);
    services.push(await startService({ ...settings, HANDLERS_DIR: await handlersFolder(Object.fromEntries(modules)) }));
  }
  const notesOf = async (consumer: string): Promise<Note[]> => {
    const lines = (await readFile(NOTES, 'utf8').catch(() => '')).split('\n').filter(line => line !== '');
    return lines.map(line => JSON.parse(line) as Note).filter(note => note.consumer === consumer);
  };
  return { services, notesOf };
}

const patterns = {
  all: ['forum.events.**', 'orders'],
  questions: ['forum.events.question.*', 'orders'],
  answered: ['forum.events.question.answered'],
};
const matching: Record<keyof typeof patterns, (type: string) => boolean> = {
  all: () => true,
  questions: type => type.startsWith('forum.question.'),
  answered: type => type === 'forum.question.answered',
};
/** On SQLite one process has all handlers. On PostgreSQL none has all, and both have one. */
const fleets: Record<Engine, Record<string, string[]>[]> = {
  sqlite: [patterns],
  postgres: [
    { all: patterns.all, answered: patterns.answered },
    { questions: patterns.questions, answered: patterns.answered },
  ],
};

describe.each(engines)('handlers whose patterns overlap, on %s', engine => {
  it('each get every event of their topics once and in order, though some fail at first', async () => {
    const { services, notesOf } = await startFleet(engine, fleets[engine]);
    const last = services.at(-1) as (typeof services)[number];
    await Promise.all(services.flatMap((service, n) => [talk(service, `a${n}`, 5), talk(service, `b${n}`, 5)]));
    for (let n = 1; n <= 30; n += 1) {
      const message = { topic: 'orders', payload: n, message_key: `order-${n % 2}` };
      expect((await (services[n % services.length] ?? last).send('POST', '/outbox', message)).status).toBe(201);
    }
    const events = await eventsOf(last);
    for (const [consumer, matches] of Object.entries(matching)) {
      const wanted = events.filter(({ event_type }) => matches(event_type)).map(({ sequence }) => sequence);
      const orders = consumer === 'answered' ? [] : Array.from({ length: 30 }, (_, n) => n + 1);
      await vi.waitFor(
        async () => expect((await notesOf(consumer)).length).toBe(wanted.length + orders.length),
        within,
      );
      const notes = await notesOf(consumer);
      expectInOrder(
        notes.filter(({ key }) => !key.startsWith('order-')),
        wanted,
      );
      expectInOrder(
        notes.filter(({ key }) => key.startsWith('order-')),
        orders,
      );
    }
    const { body } = await last.send('GET', '/bus/subscriptions');
    const served = Object.fromEntries(
      body.items.map(({ name, served_by }: { name: string; served_by: string[] }) => [name, served_by.length]),
    );
    const both = services.length;
    expect(served).toEqual({ all: 1, answered: both, forumbus: both, questions: 1 });
  });
});

describe.each(engines)('subscriptions on %s', engine => {
  const start = async (names: Record<string, string[]>, setup: Parameters<typeof startApp>[1] = {}) => {
    const handled: { consumer: string; sequence: number }[] = [];
    const handlers = Object.entries(names).map(([name, topics]) =>
      handler(topics, ({ payload }) => void handled.push({ consumer: name, ...(payload as { sequence: number }) }), {
        name,
      }),
    );
    const config = { ROLE: 'all', POLL_INTERVAL_MS: '20', ...setup?.config } as const;
    const service = await startApp(engine, { ...setup, config, overrides: { handlers, ...setup?.overrides } });
    return { service, handled, given: (name: string) => handled.filter(({ consumer }) => consumer === name) };
  };

  it('that nobody serves keep their place, show in health, and go on when somebody does', async () => {
    const database = await forThisTest(emptyDatabase(engine));
    const first = await start({ chat: ['forum.events.question.*'] }, { database });
    await talk(first.service, 'a', 1);
    await expect.poll(() => first.given('chat').length).toBe(2);
    await first.service.close();

    const without = await start({}, { database });
    await talk(without.service, 'a', 1);
    const rows = (await without.service.send('GET', '/outbox')).body.items;
    expect(rows).toHaveLength(2);
    const { items } = (await without.service.send('GET', '/events?event_type=forum.question.answered')).body;
    const waiting = items.at(-1).event_id.replace('evt_', 'msg_');
    for (const [act, consumer, code] of [
      ['discard', 'chat', 'MESSAGE_STATUS_CONFLICT'],
      ['replay', 'chat', 'MESSAGE_STATUS_CONFLICT'],
      ['discard', 'nobody', 'MESSAGE_NOT_FOUND'],
    ]) {
      const url = `/outbox/${waiting}/${act}?consumer=${consumer}`;
      expect((await without.service.send('POST', url)).body.code, url).toBe(code);
    }
    await expect
      .poll(async () => (await without.service.send('GET', '/bus/subscriptions')).body.items[0])
      .toMatchObject({ name: 'chat', served_by: [], waiting: 2, dead: 0 });
    await vi.waitFor(async () => {
      const { reasons } = (await without.service.send('GET', '/bus/health')).body;
      expect(reasons).toContainEqual({ code: 'NOT_SERVED', detail: expect.stringContaining('chat') });
    }, within);
    await without.service.close();

    const again = await start({ chat: ['forum.events.question.*'], late: ['forum.events.question.*'] }, { database });
    onTestFinished(again.service.close);
    await expect.poll(() => again.given('chat').length).toBe(2);
    await talk(again.service, 'a', 1);
    await expect.poll(() => again.given('chat').length).toBe(4);
    // A new one begins at the head of the log.
    await expect.poll(() => again.given('late').length).toBe(2);
    expect(again.given('late')).toMatchObject(
      again
        .given('chat')
        .slice(2)
        .map(({ sequence }) => ({ sequence })),
    );
  });

  it('that are deleted let go of what waits, and begin anew with their name', async () => {
    const database = await forThisTest(emptyDatabase(engine));
    const first = await start({ chat: ['forum.events.question.*', 'orders'] }, { database });
    const served = await first.service.send('POST', '/bus/subscriptions/chat/replay', { after: 0 });
    expect(served).toMatchObject({ status: 200, body: { name: 'chat', position: 0 } });
    expect((await first.service.app.inject({ method: 'DELETE', url: '/bus/subscriptions/chat' })).json()).toMatchObject(
      {
        code: 'SUBSCRIPTION_SERVED',
      },
    );
    await first.service.close();

    const without = await start({}, { database });
    const { message_id } = (await without.service.send('POST', '/outbox', { topic: 'orders', payload: 1 })).body;
    expect((await without.service.app.inject({ method: 'DELETE', url: '/bus/subscriptions/chat' })).statusCode).toBe(
      200,
    );
    const unknown = await without.service.app.inject({ method: 'DELETE', url: '/bus/subscriptions/chat' });
    expect(unknown.json()).toMatchObject({ code: 'SUBSCRIPTION_NOT_FOUND' });
    const message = async () => (await without.service.send('GET', `/outbox/${message_id}`)).body;
    await expect.poll(async () => (await message()).status, { timeout: 10_000 }).toBe('discarded');
    expect((await message()).consumer).toBe('chat');
    await without.service.close();

    const again = await start({ chat: ['forum.events.question.*'] }, { database });
    onTestFinished(again.service.close);
    await talk(again.service, 'a', 1);
    await expect.poll(() => again.given('chat').length).toBe(2);
  });

  it('name no process that was killed', async () => {
    const database = await forThisTest(emptyDatabase(engine));
    const killed = await startService({ DATABASE_URL: database.url });
    killed.kill('SIGKILL');
    await killed.exited;
    const { service } = await start({}, { database, config: { ROLE: 'http' } });
    onTestFinished(service.close);
    const servers = async () => (await service.send('GET', '/bus/subscriptions')).body.items[0].served_by;
    await expect.poll(servers, { timeout: 30_000 }).toEqual([]);
  });

  it('that are replayed get the log again from there on, in order', async () => {
    const { service, given } = await start({ chat: ['forum.events.question.*'] });
    onTestFinished(service.close);
    await talk(service, 'a', 3);
    await expect.poll(() => given('chat').length).toBe(6);
    const sequences = given('chat').map(({ sequence }) => sequence);
    const after = sequences[2] as number;
    expect((await service.send('POST', '/bus/subscriptions/chat/replay', { after })).body).toEqual({
      name: 'chat',
      position: after,
    });
    await expect
      .poll(() => given('chat').map(({ sequence }) => sequence))
      .toEqual([...sequences, ...sequences.slice(3)]);
  });

  it('that start at the beginning get the whole log', async () => {
    const database = await forThisTest(emptyDatabase(engine));
    const first = await start({}, { database });
    await talk(first.service, 'a', 2);
    await first.service.close();
    const seen: number[] = [];
    const whole = handler(
      'forum.events.**',
      ({ payload }) => void seen.push((payload as { sequence: number }).sequence),
    );
    const overrides = { handlers: [{ ...whole, from: 'beginning' as const }] };
    const { service } = await start({}, { database, overrides });
    onTestFinished(service.close);
    const sequences = (await eventsOf(service)).map(({ sequence }) => sequence);
    await expect.poll(() => seen.toSorted((a, b) => a - b)).toEqual(sequences);
  });

  it('keep a message and its id while any of its deliveries is kept', async () => {
    const clock = new ManualClock();
    const fail = handler(
      'orders',
      (_message, { permanent }) => {
        throw permanent('no');
      },
      { name: 'b' },
    );
    const handlers = [handler('orders', () => {}, { name: 'a' }), fail];
    const config = { ROLE: 'all', POLL_INTERVAL_MS: '20', OUTBOX_RETENTION_HOURS: '1' };
    const service = await startApp(engine, { config, overrides: { handlers, clock } });
    onTestFinished(service.close);
    const message = { topic: 'orders', payload: { n: 1 }, message_id: 'order-1' };
    expect((await service.send('POST', '/outbox', message)).status).toBe(201);
    const deliveries = async () =>
      (await service.send('GET', '/outbox/order-1')).body.deliveries?.map(
        ({ consumer, status }: { consumer: string; status: string }) => [consumer, status],
      );
    await expect.poll(deliveries).toEqual([
      ['a', 'sent'],
      ['b', 'dead'],
    ]);
    clock.advance(2 * 3_600_000);
    await expect.poll(deliveries).toEqual([['b', 'dead']]);
    expect((await service.send('POST', '/outbox', message)).status).toBe(200);
    expect(await service.send('POST', '/outbox', { ...message, payload: { n: 2 } })).toMatchObject({
      status: 409,
      body: { code: 'MESSAGE_EXISTS' },
    });
    const later = { ...message, available_at: '2030-01-01T00:00:00.000Z' };
    expect((await service.send('POST', '/outbox', later)).body.code).toBe('MESSAGE_EXISTS');
    expect(await deliveries()).toEqual([['b', 'dead']]);
    expect((await service.send('POST', '/outbox/order-1/discard?consumer=b')).status).toBe(200);
    clock.advance(2 * 3_600_000);
    await expect.poll(async () => (await service.send('GET', '/outbox/order-1')).status).toBe(404);
    expect((await service.send('POST', '/outbox', message)).status).toBe(201);
  });
});
