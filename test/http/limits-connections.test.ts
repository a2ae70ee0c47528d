import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { fastify } from 'fastify';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { limitConnections, useStallTimeout } from '../../src/http/limits.ts';
import { listen } from '../helpers/socket.ts';

/** For what happens a moment after its cause. */
const PATIENCE = { timeout: 10_000, interval: 10 };

describe('connections', () => {
  let server: Server;
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const listening = async (total: number, perAddress: number) => {
    server = createServer((_request, response) => response.end('served'));
    // Nothing but the limits closes a connection.
    server.keepAliveTimeout = 60_000;
    limitConnections(server, { total, perAddress });
    await once(server.listen(0, '127.0.0.1'), 'listening');
  };
  const open = (localAddress: string): Socket =>
    connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', localAddress }).on('error', () => {});
  /** Sends a request over a kept connection: what came back, nothing if it was closed. */
  const ask = async (socket: Socket): Promise<string> => {
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [chunk = ''] = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [])]);
    return String(chunk);
  };
  const busy = async (localAddress: string): Promise<Socket> => {
    const socket = open(localAddress);
    socket.write('GET / HTTP/1.1\r\n');
    await once(server, 'connection');
    return socket;
  };

  it('of one address have an end, and leave room for others', async () => {
    await listening(10, 2);
    const first = await busy('127.0.0.1');
    await busy('127.0.0.1');
    expect(await ask(open('127.0.0.1'))).toBe('');
    expect(await ask(open('127.0.0.2'))).toContain('served');
    const gone = once(first, 'close');
    first.end('Host: localhost\r\nConnection: close\r\n\r\n').resume();
    await gone;
    // The server may hear of the end a moment later than the client.
    await vi.waitFor(async () => expect(await ask(open('127.0.0.1'))).toContain('served'), PATIENCE);
  });

  it.each([
    ['of one address', 10, 2],
    ['in all', 2, 10],
  ])('that are idle make room when there are too many %s', async (_, all, perAddress) => {
    await listening(all, perAddress);
    const idle = [open('127.0.0.1'), open('127.0.0.1')];
    for (const socket of idle) expect(await ask(socket)).toContain('served');
    const closed = Promise.all(idle.map(socket => once(socket, 'close')));
    expect(await ask(open('127.0.0.1'))).toBe('');
    await closed;
    await vi.waitFor(async () => expect(await ask(open('127.0.0.1'))).toContain('served'), PATIENCE);
  });
});

describe('an answer that its client does not take', () => {
  it('is given up, and one that is taken slowly is not', async () => {
    const app = fastify();
    onTestFinished(() => app.close());
    useStallTimeout(app, 1000);
    const large = 'x'.repeat(40_000_000);
    app.get('/', () => large);
    const port = await listen(app);
    const ask = () => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
      return socket;
    };
    const connections = promisify(app.server.getConnections.bind(app.server));
    const slow = ask();
    // Nobody reads from this one.
    ask();
    let taken = 0;
    const started = performance.now();
    slow.on('data', chunk => {
      taken += chunk.length;
      // Slow for longer than the limit, but never silent for as long.
      slow.pause();
      setTimeout(() => slow.resume(), performance.now() - started < 1500 ? 4 : 0);
    });
    await vi.waitFor(() => expect(taken).toBeGreaterThan(large.length), PATIENCE);
    await vi.waitFor(async () => expect(await connections()).toBe(1), PATIENCE);
    slow.destroy();
  });
});
