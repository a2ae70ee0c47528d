import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { type PostgresServer, startPostgres } from '../helpers/postgres-server.ts';
import { type ServiceProcess, send, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';

/*
 * Cells, as docs/scaling.md has them: three databases on servers of their own, a service on each, and a router that knows
 * nothing but the name of a run.
 */

const CELLS = 3;

interface Cell {
  server: PostgresServer;
  service: ServiceProcess;
  port: number;
}

const cellOf = (run: string) => createHash('sha256').update(run).digest().readUInt32BE() % CELLS;

/** The run that a request names, in its path, its query or its body. */
function runOf(path: string, body: Buffer): string | undefined {
  const url = new URL(path, 'http://router');
  const [, named] = /^\/(?:runs|control-threads)\/([^/]+)/.exec(url.pathname) ?? [];
  if (named !== undefined) return decodeURIComponent(named);
  if (body.length > 0) return JSON.parse(body.toString()).run_id;
  return url.searchParams.get('run_id') ?? undefined;
}

async function startRouter(ports: number[]): Promise<string> {
  const server = createServer(async (incoming, outgoing) => {
    const { method, url = '', headers } = incoming;
    const body = await buffer(incoming);
    const run = runOf(url, body);
    if (run === undefined) return outgoing.writeHead(400).end('{"error":"no run"}');
    const to = request({ port: ports[cellOf(run)], host: '127.0.0.1', method, path: url, headers }, answer => {
      outgoing.writeHead(answer.statusCode as number, answer.headers);
      answer.pipe(outgoing);
    });
    to.on('error', () => outgoing.writeHead(502).end('{"error":"the cell is away"}'));
    to.end(body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

let cells: Cell[];
const ends: (() => unknown)[] = [];
const startOn = ({ url }: PostgresServer, PORT = '0') =>
  startService({ DATABASE_URL: url, ROLE: 'http', PORT }, {}, end => void ends.push(end));

beforeAll(async () => {
  cells = await Promise.all(
    Array.from({ length: CELLS }, async () => {
      const server = await startPostgres({ durable: false });
      ends.push(server.remove);
      const service = await startOn(server);
      return { server, service, port: Number(new URL(await service.listening()).port) };
    }),
  );
});
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

/** A run for each cell. */
const runs = Array.from({ length: CELLS }, (_, cell) => {
  for (let n = 0; ; n += 1) if (cellOf(`run-${n}`) === cell) return `run-${n}`;
});

it('keep the promises about each run, while another one is away', async () => {
  const router = await startRouter(cells.map(({ port }) => port));
  const ask = (run_id: string) => {
    const question = signal('guidance_request', { run_id, agent_name: 'a' });
    return send(router, 'POST', '/control-signals', question, { 'idempotency-key': `question-of-${run_id}` });
  };
  const asked = await Promise.all(runs.map(ask));
  expect(asked.map(({ status }) => status)).toEqual(runs.map(() => 201));
  // A retry comes to the same cell.
  const again = await Promise.all(runs.map(ask));
  expect(again.map(({ body }) => body)).toEqual(asked.map(({ body }) => body));

  const [away, ...others] = runs as [string, ...string[]];
  const { service, server, port } = cells[0] as Cell;
  service.kill('SIGKILL');
  await service.exited;
  expect((await send(router, 'GET', `/runs/${away}`)).status).toBe(502);
  for (const run of others) {
    expect((await send(router, 'GET', `/runs/${run}`)).body).toMatchObject({
      run_id: run,
      status: 'awaiting_guidance',
    });
  }
  const next = await startOn(server, String(port));
  (cells[0] as Cell).service = next;
  await next.listening();
  expect((await send(router, 'GET', `/runs/${away}`)).body).toMatchObject({
    run_id: away,
    status: 'awaiting_guidance',
  });
});

it('have no order among them: each has a log of its own', async () => {
  const logs = await Promise.all(
    cells.map(async ({ service }) => (await send(await service.listening(), 'GET', '/events')).body.items),
  );
  for (const [cell, events] of logs.entries()) {
    expect(new Set(events.map((event: { run_id: string }) => event.run_id))).toEqual(new Set([runs[cell]]));
    // The same sequences name other events elsewhere.
    expect(events.map((event: { sequence: number }) => event.sequence)).toEqual(
      events.map((_: unknown, n: number) => n + 1),
    );
  }
});

it('have no lists of all: whoever wants one asks each cell', async () => {
  const router = await startRouter(cells.map(({ port }) => port));
  expect((await send(router, 'GET', '/questions?state=open')).status).toBe(400);
  expect((await send(router, 'GET', `/questions?state=open&run_id=${runs[1]}`)).body.items).toHaveLength(1);
  const all = await Promise.all(
    cells.map(
      async ({ service }) => (await send(await service.listening(), 'GET', '/questions?state=open')).body.items,
    ),
  );
  expect(all.map(items => items.length)).toEqual([1, 1, 1]);
  // A question does not say where it is.
  const id = all[2][0].question_id;
  const found = await Promise.all(
    cells.map(async ({ service }) => (await send(await service.listening(), 'GET', `/questions/${id}`)).status),
  );
  expect(found).toEqual([404, 404, 200]);
});
