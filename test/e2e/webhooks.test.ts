import type { LookupFunction } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { startReceiver, toLoopback } from '../helpers/receiver.ts';

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
    // Other tests may send to its port, which a receiver of theirs had before.
    expect(receiver.received.filter(({ headers }) => headers.host?.startsWith('rebind.example'))).toHaveLength(1);
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
