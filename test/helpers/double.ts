import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/*
 * What the doubles of channels have in common. Each is a process of its own that speaks what its channel documents, and under
 * /control what a test needs: what people see, and what they press.
 */

/** A request that a double got. */
export interface Request {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** As it came. */
  body: string;
  /** The body as JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: a double looks into whatever came
  json: () => any;
}

/** Serves on a free port of loopback and prints the URL. It ends with the process that started it. */
export async function serve(answer: (request: Request, response: ServerResponse) => unknown): Promise<Server> {
  const server = createServer((request, response) => {
    const { pathname: path, searchParams: query } = new URL(request.url ?? '', 'http://double');
    const chunks: Buffer[] = [];
    request.on('data', chunk => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const { method = '', headers } = request;
      answer({ method, path, query, headers, body, json: () => JSON.parse(body) }, response);
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  announce(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return server;
}

/** Says where the double is. It ends when nobody listens any more. */
export function announce(...urls: string[]): void {
  process.stdout.write(`${JSON.stringify(urls)}\n`);
  process.stdin.on('end', () => process.exit()).resume();
}

export function reply(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}
