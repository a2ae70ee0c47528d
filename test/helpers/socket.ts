import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** What came back over a bare socket until the server closed it. */
interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
  /** When its first byte came. */
  at: number;
}

/** Listens on a free port of loopback and answers the port. */
export async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' });
  return (app.server.address() as AddressInfo).port;
}

/** Sends bytes that no HTTP client would, and reads until the server closes the connection. */
export function exchange(port: number, bytes: string | Uint8Array): Promise<RawAnswer> {
  return openExchange(port, bytes).answer;
}

/** The same on a connection that the test may cut; there is no answer then. */
export function openExchange(port: number, bytes: string | Uint8Array): { socket: Socket; answer: Promise<RawAnswer> } {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  let at = Number.POSITIVE_INFINITY;
  socket.on('data', chunk => {
    if (chunks.length === 0) at = performance.now();
    chunks.push(chunk);
  });
  // A server that closes before it has read everything resets the connection; what it said before that counts.
  socket.on('error', () => {});
  socket.write(bytes);
  const answer = once(socket, 'close').then(() => ({ ...parsed(Buffer.concat(chunks).toString('utf8')), at }));
  return { socket, answer };
}

function parsed(text: string): Omit<RawAnswer, 'at'> {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [line = '', ...fields] = head.split('\r\n');
  const pairs = fields.map(field => [field.split(':')[0]?.toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]);
  return { status: Number(line.split(' ')[1]), headers: Object.fromEntries(pairs), body: rest.join('\r\n\r\n') };
}
