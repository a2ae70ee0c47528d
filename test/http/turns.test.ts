import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fastify } from 'fastify';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { useTurns } from '../../src/http/turns.ts';
import { listen } from '../helpers/socket.ts';

const request = (name: string, headers = '') => `GET /${name} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;
const bearer = (token: string) => `Authorization: Bearer ${token}\r\n`;
const CLOSE = 'Connection: close\r\n';

describe('requests that come at once', () => {
  let port: number;
  /** Paths in the order in which their requests began. */
  let begun: string[];
  beforeEach(async () => {
    begun = [];
    const app = fastify();
    onTestFinished(() => app.close());
    useTurns(app);
    app.get('/:name', async ({ url }) => begun.push(url));
    port = await listen(app);
  });

  /** A connection that has been served once, so that what it sends next is read in one turn. */
  const opened = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    socket.write(request('first'));
    await once(socket, 'data');
    return socket;
  };
  const several = (count: number) => Promise.all(Array.from({ length: count }, opened));
  const sent = async (sockets: Socket[], texts: string[]): Promise<string[]> => {
    begun = [];
    const answers = sockets.map(async socket => {
      let text = '';
      socket.setEncoding('utf8').on('data', chunk => {
        text += chunk;
      });
      await once(socket, 'close');
      return text;
    });
    for (const [index, socket] of sockets.entries()) socket.write(texts[index] as string);
    return Promise.all(answers);
  };
  const numbered = (count: number, headers = '') =>
    Array.from({ length: count }, (_, index) => request(`${index}`, headers)).join('');

  it('from two connections take turns, and those of each begin in their order', async () => {
    const flood = numbered(1000) + request('last', CLOSE);
    await sent(await several(2), [flood, request('one', CLOSE)]);
    expect(begun.indexOf('/one')).toBeLessThan(20);
    expect(begun.filter(url => url !== '/one')).toEqual([...Array(1000).keys(), 'last'].map(name => `/${name}`));
  });

  it('take turns by connection, whatever tokens a pipelining client makes up', async () => {
    const madeUp = Array.from({ length: 500 }, (_, index) => request(`${index}`, bearer(`${index}`))).join('');
    await sent(await several(2), [madeUp + request('last', CLOSE), request('one', CLOSE)]);
    expect(begun).toHaveLength(502);
    expect(begun.indexOf('/one')).toBeLessThan(20);
  });

  it('from two tokens take turns, over however many connections', async () => {
    const flood = numbered(20, bearer('a')) + request('last', bearer('a') + CLOSE);
    const texts = [...Array(50).fill(flood), request('one', bearer('b') + CLOSE)];
    await sent(await several(51), texts);
    expect(begun).toHaveLength(50 * 21 + 1);
    // Connections are read one after the other, that of the second token last.
    expect(begun.indexOf('/one')).toBeLessThan(150);
  });

  it('are refused beyond 2000 that wait, unless their caller has none among them', async () => {
    const flood = numbered(3000) + request('last', CLOSE);
    const [flooded = '', one] = await sent(await several(2), [flood, request('one', CLOSE)]);
    expect(one).toContain('HTTP/1.1 200');
    const served = flooded.split('HTTP/1.1 200').length - 1;
    // A bare Fastify does not know the status of a refusal.
    const refused = flooded.split('SERVICE_UNAVAILABLE').length - 1;
    expect(served + refused).toBe(3001);
    expect(served).toBeGreaterThanOrEqual(2000);
  });
});
