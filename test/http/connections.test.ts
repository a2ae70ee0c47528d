import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { connectionLimits, limitConnections } from '../../src/http/connections.ts';

const HEAD = 'GET / HTTP/1.1\r\nHost: localhost\r\n';

describe('connections', () => {
  let server: Server;
  /** Answers that are held back, by path. */
  let held: ServerResponse[];
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const listening = async (total: number, perAddress: number, proxy?: string) => {
    held = [];
    server = createServer((request, response) => {
      if (request.headers.authorization) trust(request.socket);
      if (request.url === '/held') held.push(response);
      else response.end('served');
    });
    // Nothing but the limits closes a connection.
    server.keepAliveTimeout = 60_000;
    const trust = limitConnections(server, { warn() {} }, address => address === proxy, { total, perAddress });
    await once(server.listen(0, '127.0.0.1'), 'listening');
  };
  const open = async (localAddress: string, text = ''): Promise<Socket> => {
    const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', localAddress });
    socket.on('error', () => {});
    socket.write(text);
    await Promise.all([once(server, 'connection'), once(socket, 'connect')]);
    return socket;
  };
  /** Sends the rest of a request over a connection: what came back, '' if it was closed. */
  const ask = async (socket: Socket, rest = `${HEAD}\r\n`): Promise<string> => {
    socket.write(rest);
    const [chunk = ''] = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [])]);
    return String(chunk);
  };
  /** Sends a request that is answered by `held`. */
  const hold = async (headers = ''): Promise<Socket> => {
    const socket = await open('127.0.0.1', `GET /held HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`);
    await vi.waitFor(() => expect(held.some(({ req }) => req.socket.remotePort === socket.localPort)).toBe(true));
    return socket;
  };

  it.each([
    ['of one address', 10, 2],
    ['in all', 2, 10],
  ])('that are idle make room for new ones when there are too many %s', async (_, total, perAddress) => {
    await listening(total, perAddress);
    const idle = [await open('127.0.0.1'), await open('127.0.0.1')];
    for (const socket of idle) expect(await ask(socket)).toContain('served');
    const closed = once(idle[0] as Socket, 'close');
    expect(await ask(await open('127.0.0.1'))).toContain('served');
    await closed;
    expect(await ask(idle[1] as Socket)).toContain('served');
  });

  it('of a proxy are those of many callers: only the sum counts', async () => {
    await listening(4, 2, '127.0.0.1');
    const proxied = [await open('127.0.0.1'), await open('127.0.0.1'), await open('127.0.0.1')];
    for (const socket of proxied) expect(await ask(socket)).toContain('served');
    const others = [await open('127.0.0.2'), await open('127.0.0.2'), await open('127.0.0.2')];
    expect(await ask(others[2] as Socket)).toContain('served');
    expect(await ask(proxied[2] as Socket)).toContain('served');
  });

  it.each([
    ['a first head', ''],
    ['a second head', `${HEAD}\r\n`],
  ])('that send %s slowly make room, the oldest first', async (_, before) => {
    await listening(10, 2);
    const slow: Socket[] = [];
    for (let count = 0; count < 5; count += 1) {
      const socket = await open('127.0.0.1');
      if (before) expect(await ask(socket, before)).toContain('served');
      socket.write(HEAD);
      slow.push(socket);
    }
    expect(await ask(await open('127.0.0.1'))).toContain('served');
    expect(await ask(slow[4] as Socket, '\r\n')).toContain('served');
    expect(slow.slice(0, 3).map(socket => socket.destroyed || socket.readableEnded)).not.toContain(false);
  });

  it('of callers without a token make room even with a request in progress, those with one do not', async () => {
    await listening(10, 2);
    const trusted = await hold('Authorization: Bearer x\r\n');
    const other = await hold();
    const closed = once(other, 'close');
    expect(await ask(await open('127.0.0.1'))).toContain('served');
    await closed;
    held[0]?.end('at last');
    const [chunk] = await once(trusted, 'data');
    expect(String(chunk)).toContain('at last');
  });

  it('that all have a trusted request in progress leave no room', async () => {
    await listening(2, 2);
    for (let count = 0; count < 2; count += 1) {
      await hold('Authorization: Bearer x\r\n');
    }
    expect(await ask(await open('127.0.0.1'))).toBe('');
    for (const response of held) response.end();
  });

  it('leave files for everything else', () => {
    fc.assert(
      fc.property(fc.integer({ min: 16, max: 1_000_000 }), files => {
        const { total, perAddress } = connectionLimits(files);
        expect(total).toBeLessThanOrEqual(10_000);
        expect(perAddress).toBeLessThanOrEqual(Math.min(5000, total));
        expect(files - total).toBeGreaterThanOrEqual(Math.min(128, files / 2));
      }),
    );
    expect(connectionLimits(Number.POSITIVE_INFINITY)).toEqual({ total: 10_000, perAddress: 5000 });
  });
});
