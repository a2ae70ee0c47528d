import type { LookupFunction } from 'node:net';
import { expect, it, vi } from 'vitest';
import { createAddressGuard } from '../../src/webhooks/addresses.ts';
import { createOpenSocket } from '../../src/webhooks/socket.ts';
import { startDouble } from '../helpers/channels.ts';

const toLoopback: LookupFunction = (_name, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]);

/** The address of a socket of the double of Slack, which greets. */
async function socketUrl(host: string): Promise<URL> {
  const double = await startDouble('slack', ['xapp-1', 'xoxb-1', 'C01']);
  const headers = { authorization: 'Bearer xapp-1', 'content-type': 'application/json' };
  const opened = await fetch(`${double.url}api/apps.connections.open`, { method: 'POST', headers, body: '{}' });
  const { url } = (await opened.json()) as { url: string };
  return new URL(url.replace('127.0.0.1', host));
}

it('a socket connects to an allowed address by its name, and ends when it is told to', async () => {
  const open = createOpenSocket(createAddressGuard('127.0.0.0/8', toLoopback));
  const heard: string[] = [];
  const stop = new AbortController();
  const socket = open(await socketUrl('slack.forum.example'), stop.signal, text => heard.push(text));
  await socket.opened;
  await vi.waitFor(() => expect(heard).toEqual([expect.stringContaining('"hello"')]), { timeout: 10_000 });
  stop.abort();
  await socket.closed;
  socket.send('nobody reads this');
});

it('a socket reaches no private address, by its number or by a name', async () => {
  const open = createOpenSocket(createAddressGuard('10.0.0.0/8', toLoopback));
  const { signal } = new AbortController();
  const numbered = await socketUrl('127.0.0.1');
  expect(() => open(numbered, signal, () => {})).toThrow('must be wss, or in WEBHOOK_ALLOW_CIDRS');
  expect(() => open(new URL('https://slack.example/'), signal, () => {})).toThrow('must be an wss URL');
  const heard: string[] = [];
  const socket = open(await socketUrl('slack.forum.example'), signal, text => heard.push(text));
  await expect(socket.opened).rejects.toThrow('There is no connection to slack.forum.example');
  await socket.closed;
  expect(heard).toEqual([]);
});
