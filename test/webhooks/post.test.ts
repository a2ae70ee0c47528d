import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createAddressGuard } from '../../src/webhooks/addresses.ts';
import { createPost } from '../../src/webhooks/post.ts';
import { startReceiver } from '../helpers/receiver.ts';

const never = new AbortController().signal;

function client() {
  const made = createPost(createAddressGuard('127.0.0.0/8'));
  onTestFinished(() => made.close());
  return made;
}

/** An endpoint that writes these bytes whatever it is asked, and then does something with the connection. */
async function startRaw(bytes: string, then: (socket: Socket) => void = socket => socket.end()): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer(socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(bytes);
      then(socket);
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/`;
}

const plain = { headers: {}, body: '{}' };

describe('a request of a webhook', () => {
  it.each([
    ['120', 120_000],
    ['0', 0],
    // Ten years; the circuit bounds it.
    ['315360000', 315_360_000_000],
    ['-5', 0],
    ['Sun, 06 Nov 1994 08:49:37 GMT', 0],
    ['soon', null],
    ['', null],
    ['1e400', null],
    ['9'.repeat(400), null],
    ['5 minutes', null],
    ['NaN', null],
  ])('reads Retry-After: %s', async (value, expected) => {
    const { url } = await startReceiver(response => void response.writeHead(503, { 'retry-after': value }).end());
    expect(await client().post({ ...plain, url }, never)).toMatchObject({ status: 503, retryAfterMs: expected });
  });

  it('says who sends it, also where it goes on reading', async () => {
    const { url, received } = await startReceiver(response => void response.writeHead(200).end('{}\n'));
    const { post, follow } = client();
    await post({ ...plain, url }, never);
    for await (const line of follow(new URL(url), {}, never)) expect(line).toBe('{}');
    const agents = received.map(({ headers }) => headers['user-agent']);
    expect(agents).toEqual([expect.stringMatching(/^forumbus\/\d+\.\d+\.\d+/), agents[0]]);
  });

  it('reads a Retry-After that is a date', async () => {
    const date = new Date(Date.now() + 3_600_000).toUTCString();
    const { url } = await startReceiver(response => void response.writeHead(503, { 'retry-after': date }).end());
    const { retryAfterMs } = await client().post({ ...plain, url }, never);
    // The date has whole seconds.
    expect(retryAfterMs).toBeGreaterThan(3_500_000);
    expect(retryAfterMs).toBeLessThanOrEqual(3_600_000);
  });

  it.each([
    ['switches protocols', 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'],
    ['hangs up', ''],
    ['answers half a head', 'HTTP/1.1 200 OK\r\ncontent-le'],
    ['answers half a body', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'],
    ['speaks something else', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['answers too large a head', `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`],
  ])('fails at once at an endpoint that %s', async (_what, bytes) => {
    const { post } = client();
    const answer = await post({ ...plain, url: await startRaw(bytes) }, never);
    expect(answer).toMatchObject({ status: null, error: expect.stringMatching(/^(?!No answer within)./) });
  });

  it.each([
    ['is sent again over a new connection if a kept one ends', '', 3],
    ['is not sent again if a kept connection ends within the head', 'HTTP/1.1 200 OK\r\ncontent-le', 2],
    [
      'is not sent again if a kept connection ends within the body',
      'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nha',
      2,
    ],
  ])('%s', async (_what, bytes, requests) => {
    let count = 0;
    const server = createServer(socket => {
      socket.on('error', () => {});
      socket.on('data', () => {
        count += 1;
        if (count !== 2) socket.write('HTTP/1.1 204 No Content\r\n\r\n');
        else socket.write(bytes, () => setImmediate(() => socket.resetAndDestroy()));
      });
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const { post } = client();
    expect((await post({ ...plain, url }, never)).status).toBe(204);
    expect((await post({ ...plain, url }, never)).status).toBe(requests === 3 ? 204 : null);
    expect(count).toBe(requests);
  });

  it('reads no more of an endless answer than it needs, and keeps its beginning', async () => {
    const url = await startRaw('HTTP/1.1 200 OK\r\n\r\n', socket => {
      const more = () => {
        while (!socket.destroyed && socket.write('é'.repeat(5000)));
        socket.once('drain', more);
      };
      more();
    });
    const { status, head } = await client().post({ ...plain, url }, never);
    expect(status).toBe(200);
    expect(head).toBe('é'.repeat(512));
  });

  it.each([
    ['bytes that are no text', Buffer.alloc(2000, 0xff), '\uFFFD'.repeat(341)],
    ['NUL', Buffer.alloc(2000), '\uFFFD'.repeat(341)],
    ['characters of several bytes', Buffer.from(`a${'€'.repeat(500)}`), `a${'€'.repeat(341)}`],
    ['characters of two units', Buffer.from(`abc${'😀'.repeat(500)}`), `abc${'😀'.repeat(255)}`],
  ])('keeps at most 1,024 bytes of an answer of %s', async (_what, body, kept) => {
    const { url } = await startReceiver(response => void response.writeHead(200).end(body));
    expect((await client().post({ ...plain, url }, never)).head).toBe(kept);
  });

  it('is not sent to where a redirect points', async () => {
    const inside = await startReceiver();
    const { url } = await startReceiver(response => void response.writeHead(302, { location: inside.url }).end());
    expect(await client().post({ ...plain, url }, never)).toMatchObject({ status: 302 });
    expect(inside.received).toEqual([]);
  });

  it('follows no stream of a server that switches protocols', async () => {
    const url = await startRaw('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n');
    const lines = client().follow(new URL(url), {}, never);
    await expect(lines[Symbol.asyncIterator]().next()).rejects.toThrow('closed without an answer');
  });

  it('reaches nothing private by a name that the system resolves', async () => {
    let connections = 0;
    const server = createServer(() => {
      connections += 1;
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await new Promise(resolve => server.once('listening', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const { post, close } = createPost(createAddressGuard(''));
    onTestFinished(close);
    for (const host of ['localhost', 'localhost.', 'LOCALHOST']) {
      const { error } = await post({ ...plain, url: `https://${host}:${port}/` }, never);
      // Not every system knows it with a dot.
      expect(error).toMatch(/has no address that webhooks may connect to|ENOTFOUND localhost\./);
    }
    for (const host of ['127.0.0.1', '127.0.0.1.', '0x7f000001', '[::ffff:7f00:1]', 'ana:b@localhost']) {
      expect((await post({ ...plain, url: `https://${host}:${port}/` }, never)).error).toMatch(/^The URL must/);
    }
    expect(connections).toBe(0);
  });
});
