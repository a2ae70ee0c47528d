import type { ServerResponse } from 'node:http';
import type { LookupFunction } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { emptyDatabase } from '../helpers/engines.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest, type ServiceProcess, startService } from '../helpers/process.ts';
import { type Received, startReceiver, toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';

const within = { timeout: 50_000, interval: 100 };

const settingsOn = async () => ({ ...toLoopback, DATABASE_URL: (await forThisTest(emptyDatabase('sqlite'))).url });

/** What an agent reports: one event, whose payload has its number. */
async function report(service: ServiceProcess, number: number): Promise<void> {
  const fields = { agent_name: `agent-${number % 20}`, summary: `Report ${number}` };
  const { status } = await service.send('POST', '/control-signals', signal('completion', fields), {
    'idempotency-key': `report-${number}`,
  });
  expect(status).toBe(201);
}

async function create(service: ServiceProcess, name: string, url: string): Promise<void> {
  const wanted = { name, url, event_types: ['forum.control.signal'] };
  expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
}

interface Given {
  sequence: number;
  thread_id: string;
  /** From the event to its arrival. Milliseconds. */
  delay: number;
}

/** The events of each path, in the order of their arrival. */
function byPath(received: Received[]): Map<string, Given[]> {
  const given = received.map(({ path, body, at }) => {
    const { sequence, thread_id, occurred_at } = JSON.parse(body).data;
    return { path, sequence, thread_id, delay: at - Date.parse(occurred_at) };
  });
  return Map.groupBy(given, ({ path }) => path);
}

/** The events of each thread came in their order; one that came again counts the first time. */
function expectInOrder(given: Given[]): void {
  for (const lane of Map.groupBy(given, ({ thread_id }) => thread_id).values()) {
    const sequences = [...new Set(lane.map(({ sequence }) => sequence))];
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
  }
}

describe('fifty webhooks', () => {
  const GOOD = 33;
  const EVENTS = 120;
  /** A third hangs, fails, is gone, or does not even listen. */
  const bad: Record<string, (response: ServerResponse) => void> = {
    hang: () => {},
    fail: response => void response.writeHead(500).end('broken'),
    gone: response => void response.writeHead(410).end(),
    slow: response => void setTimeout(() => response.writeHead(204).end(), 3000),
  };

  it('do not wait for each other: the good ones get everything at once and in order', {
    timeout: 120_000,
  }, async () => {
    const service = await startService(await settingsOn());
    const good = await startReceiver();
    const others = await startReceiver((response, { path }) => bad[path.split('/')[1] ?? '']?.(response));
    for (let n = 0; n < GOOD; n += 1) await create(service, `good-${n}`, `${good.url}${n}`);
    const nobody = `http://127.0.0.1:${await freePort()}/`;
    const kinds = [...Object.keys(bad).map(kind => `${others.url}${kind}/`), nobody];
    for (let n = 0; n < 50 - GOOD; n += 1) await create(service, `bad-${n}`, `${kinds[n % kinds.length]}${n}`);
    for (let number = 0; number < EVENTS; number += 10) {
      await Promise.all(Array.from({ length: 10 }, (_, n) => report(service, number + n)));
      await new Promise(resolve => setTimeout(resolve, 500));
    }
    await vi.waitFor(() => expect(good.received.length).toBeGreaterThanOrEqual(GOOD * EVENTS), within);
    const given = byPath(good.received);
    expect(given.size).toBe(GOOD);
    for (const events of given.values()) {
      expect(new Set(events.map(({ sequence }) => sequence)).size).toBe(EVENTS);
      expectInOrder(events);
    }
    const delays = [...given.values()].flat().map(({ delay }) => delay);
    expect(delays.toSorted((a, b) => a - b)[Math.floor(delays.length * 0.99)]).toBeLessThan(1000);
    // An open circuit takes few requests, however much waits for them.
    for (const [path, requests] of Map.groupBy(others.received, ({ path }) => path)) {
      if (/fail|hang/.test(path)) expect(requests.length).toBeLessThan(30);
      if (/gone/.test(path)) expect(requests.length).toBeLessThanOrEqual(8);
    }
  });
});

it('loses nothing of what webhooks are to get when it is killed five times', { timeout: 120_000 }, async () => {
  const settings = await settingsOn();
  const receivers = [await startReceiver(), await startReceiver()];
  let service = await startService(settings);
  for (const [n, { url }] of receivers.entries()) await create(service, `webhook-${n}`, url);
  for (let life = 0; life < 5; life += 1) {
    const before = receivers[0]?.received.length ?? 0;
    await Promise.all(Array.from({ length: 20 }, (_, n) => report(service, 20 * life + n)));
    // In the middle of the work.
    await vi.waitFor(() => expect(receivers[0]?.received.length).toBeGreaterThan(before), within);
    service.kill('SIGKILL');
    await service.exited;
    service = await startService(settings);
  }
  for (const { received } of receivers) {
    const numbers = () => new Set(received.map(({ body }) => JSON.parse(body).data.payload.summary));
    await vi.waitFor(() => expect(numbers().size).toBe(100), within);
    expectInOrder([...byPath(received).values()].flat());
  }
});

describe('nothing reaches a private address', () => {
  /** A service whose names mean what the test says, one answer for each look-up. */
  async function start(answers: string[]) {
    const asked: string[] = [];
    const lookup: LookupFunction = (hostname, _options, callback) => {
      asked.push(hostname);
      const address = answers[Math.min(asked.length, answers.length) - 1] as string;
      callback(null, [{ address, family: 4 }]);
    };
    const config = { ...toLoopback, WEBHOOK_ALLOW_CIDRS: '127.0.0.2/32' };
    const service = await startApp('sqlite', { config, overrides: { lookup } });
    onTestFinished(() => service.close());
    return { service, asked };
  }

  it('by a name, though it meant an allowed one before', async () => {
    const { service } = await start(['127.0.0.2', '127.0.0.1']);
    const receiver = await startReceiver(
      response => void response.writeHead(204, { connection: 'close' }).end(),
      '0.0.0.0',
    );
    const url = receiver.url.replace('127.0.0.1', 'rebind.example');
    const wanted = { name: 'chat', url, event_types: ['*'] };
    expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
    expect((await service.send('POST', '/webhooks/chat/ping')).body).toMatchObject({ ok: true });
    const error = 'rebind.example has no address that webhooks may connect to.';
    expect((await service.send('POST', '/webhooks/chat/ping')).body).toMatchObject({ ok: false, status: null, error });
    expect(receiver.received).toHaveLength(1);
  });

  it('by a redirect', async () => {
    const { service, asked } = await start(['127.0.0.2']);
    const inside = await startReceiver();
    const receiver = await startReceiver(
      response => void response.writeHead(307, { location: inside.url }).end(),
      '0.0.0.0',
    );
    const url = receiver.url.replace('127.0.0.1', 'redirect.example');
    expect((await service.send('POST', '/webhooks', { name: 'chat', url, event_types: ['*'] })).status).toBe(201);
    expect((await service.send('POST', '/webhooks/chat/ping')).body).toMatchObject({ ok: false, status: 307 });
    expect(asked).toEqual(['redirect.example']);
    expect(inside.received).toEqual([]);
  });
});
