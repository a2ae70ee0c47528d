import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { expectProblem } from '../helpers/problems.ts';
import { send } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { firstToken } from '../helpers/tokens.ts';

/** For a cap to fall after a client has gone. */
const PATIENCE = { timeout: 10_000, interval: 20 };

describe('caps per caller', () => {
  let service: TestApp;
  let port: number;
  let origin: string;
  beforeAll(async () => {
    service = await startApp('sqlite', { config: { STREAMS_PER_CALLER: '2', WAITS_PER_CALLER: '2' } });
    port = await listen(service.app);
    origin = `http://127.0.0.1:${port}`;
    await service.send('POST', '/control-signals', signal('completion'));
  });
  afterAll(() => service.close());

  const STREAM = { path: '/events/stream', code: 'TOO_MANY_STREAMS' } as const;
  const WAIT = { path: '/runs/run-1?wait=50', code: 'TOO_MANY_WAITS' } as const;

  type Kind = typeof STREAM | typeof WAIT;

  /** Whether a further one is let in; it does not stay. */
  const hasRoom = async ({ path, code }: Kind): Promise<boolean> => {
    const leaving = new AbortController();
    const answer = fetch(`${origin}${path}`, { signal: leaving.signal });
    answer.catch(() => {});
    // A stream answers at once, a wait only if it is refused.
    const patience = new Promise<undefined>(resolve => setTimeout(() => resolve(undefined), 200));
    const response = await Promise.race([answer, patience]);
    const refused = response?.status === 429;
    if (refused) {
      const body = (await response.json()) as object;
      expectProblem({ status: 429, headers: Object.fromEntries(response.headers), body }, code);
    }
    leaving.abort();
    return !refused;
  };
  const roomComes = (kind: Kind) => vi.waitFor(async () => expect(await hasRoom(kind)).toBe(true), PATIENCE);

  /** Has a client take all the room; again, if somebody who only asked for room was in its way. Answers how it leaves. */
  const fill = (kind: Kind, take: (bytes: string) => Promise<() => void>): Promise<() => void> =>
    vi.waitFor(async () => {
      const leave = await take(`GET ${kind.path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      await send(origin, 'GET', '/livez');
      if (!(await hasRoom(kind))) return leave;
      leave();
      throw new Error('There is still room.');
    }, PATIENCE);

  const pipelined =
    (leave: (socket: Socket) => void) =>
    async (bytes: string): Promise<() => void> => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      onTestFinished(() => void socket.destroy());
      socket.write(bytes.repeat(2));
      await once(socket, 'connect');
      return () => leave(socket);
    };
  const killed = async (bytes: string): Promise<() => void> => {
    const script = `const { connect } = require('node:net');
      for (let i = 0; i < 2; i += 1) connect(${port}, '127.0.0.1').write(${JSON.stringify(bytes)}, () => console.log());`;
    const client = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    onTestFinished(() => void client.kill('SIGKILL'));
    await once(client.stdout, 'data');
    return () => client.kill('SIGKILL');
  };
  const clients: [string, (bytes: string) => Promise<() => void>][] = [
    ['whose requests are pipelined, and who goes away', pipelined(socket => socket.destroy())],
    ['whose requests are pipelined, and who goes away half', pipelined(socket => socket.end())],
    ['who is killed', killed],
  ];

  it('refuse a stream too many, with Retry-After, until one ends', async () => {
    const streams = [await openStream(origin), await openStream(origin)];
    const refused = await send(origin, 'GET', STREAM.path);
    expectProblem(refused, 'TOO_MANY_STREAMS');
    expect(refused.headers['retry-after']).toBe('1');
    streams[0]?.leave();
    await roomComes(STREAM);
    streams[1]?.leave();
  });

  describe.each([STREAM, WAIT])('$path', kind => {
    it.each(clients)('fall with a client %s', async (_, take) => {
      const leave = await fill(kind, take);
      leave();
      await roomComes(kind);
    });
  });

  it('store a signal whose wait is one too many, and answer it at once without Retry-After', async () => {
    await fill(
      WAIT,
      pipelined(socket => socket.destroy()),
    );
    const asked = await send(
      origin,
      'POST',
      '/control-signals?wait=50',
      signal('guidance_request', { run_id: 'run-2' }),
    );
    expect(asked.status).toBe(201);
    expect(asked.body.question.state).toBe('open');
    expect(asked.headers).not.toHaveProperty('retry-after');
  });

  it('are those of a token, whatever others do', async () => {
    const closed = await startApp('sqlite', { config: { STREAMS_PER_CALLER: '1' } });
    onTestFinished(() => closed.close());
    const at = `http://127.0.0.1:${await listen(closed.app)}`;
    const tokens: string[] = [];
    for (const name of ['ana', 'bo']) {
      tokens.push((await firstToken(closed.url, { role: 'admin', actor: { type: 'operator', name } })).token);
    }
    const open = async (token = '') => {
      const leaving = new AbortController();
      onTestFinished(() => leaving.abort());
      const headers = { authorization: `Bearer ${token}` };
      return (await fetch(`${at}/events/stream`, { headers, signal: leaving.signal })).status;
    };
    expect([await open(tokens[0]), await open(tokens[0]), await open(tokens[1])]).toEqual([200, 429, 200]);
  });
});
