import { type AddressInfo, connect } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** What came back over a bare socket until the server closed it. */
interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Listens on a free port of loopback and answers the port. */
export async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' });
  return (app.server.address() as AddressInfo).port;
}

/** Sends bytes that no HTTP client would, and reads until the server closes the connection. */
export async function exchange(port: number, bytes: string | Uint8Array): Promise<RawAnswer> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', chunk => chunks.push(chunk));
  // A server that closes before it has read everything resets the connection; what it said before that counts.
  socket.on('error', () => {});
  socket.write(bytes);
  await new Promise(resolve => socket.once('close', resolve));
  const text = Buffer.concat(chunks).toString('utf8');
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [line = '', ...fields] = head.split('\r\n');
  const pairs = fields.map(field => [field.split(':')[0]?.toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]);
  return { status: Number(line.split(' ')[1]), headers: Object.fromEntries(pairs), body: rest.join('\r\n\r\n') };
}
