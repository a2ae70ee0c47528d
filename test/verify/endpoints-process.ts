import { createWriteStream } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/*
 * The endpoints of webhooks, as a process of their own: `node endpoints-process.ts <file>`. The first part of a path says
 * how its endpoint behaves. What each one gets is a line of the file; a GET answers how much that is.
 */

/** How long a slow endpoint takes. Milliseconds. */
const SLOW_MS = 3000;

const behaviours: Record<string, (response: ServerResponse) => void> = {
  good: response => void response.writeHead(204).end(),
  fail: response => void response.writeHead(500).end('broken'),
  gone: response => void response.writeHead(410).end(),
  hang: () => {},
  slow: response => void setTimeout(() => response.writeHead(204).end(), SLOW_MS),
};

const file = createWriteStream(process.argv[2] as string);
/** The reports that each path has got. */
const got = new Map<string, Set<number>>();

const server = createServer((request, response) => {
  const path = request.url ?? '';
  if (request.method === 'GET') {
    response.end(JSON.stringify(Object.fromEntries([...got].map(([path, reports]) => [path, reports.size]))));
    return;
  }
  const at = Date.now();
  const chunks: Buffer[] = [];
  request.on('data', chunk => chunks.push(chunk));
  request.on('end', () => {
    behaviours[path.split('/')[1] ?? '']?.(response);
    const { data } = JSON.parse(Buffer.concat(chunks).toString());
    const report = Number(data.payload.summary);
    got.set(path, (got.get(path) ?? new Set()).add(report));
    const line = [path, report, data.sequence, data.thread_id, at - Date.parse(data.occurred_at)];
    file.write(`${JSON.stringify(line)}\n`);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.once('disconnect', () => process.exit());
process.once('message', () => file.end(() => process.exit()));
