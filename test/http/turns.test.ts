import { once } from 'node:events';
import { connect } from 'node:net';
import { fastify } from 'fastify';
import { expect, it, onTestFinished } from 'vitest';
import { useTurns } from '../../src/http/turns.ts';
import { listen } from '../helpers/socket.ts';

const PIPELINED = 1000;

it('a request waits for a few of another connection, however many that has sent at once', async () => {
  const app = fastify();
  onTestFinished(() => app.close());
  useTurns(app);
  const begun: string[] = [];
  app.get('/:name', async ({ url }) => begun.push(url));
  const port = await listen(app);
  const request = (name: string, headers = '') => `GET /${name} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;
  const opened = async () => {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(request('first'));
    await once(socket, 'data');
    return socket;
  };
  const [flood, one] = [await opened(), await opened()];
  begun.length = 0;
  const last = request('last', 'Connection: close\r\n');
  flood.resume().write(Array.from({ length: PIPELINED }, (_, index) => request(`${index}`)).join('') + last);
  one.write(request('one'));
  await Promise.all([once(flood, 'close'), once(one, 'data')]);
  expect(begun.indexOf('/one')).toBeLessThan(100);
  expect(begun.filter(url => url !== '/one')).toEqual([...Array(PIPELINED).keys(), 'last'].map(name => `/${name}`));
});
