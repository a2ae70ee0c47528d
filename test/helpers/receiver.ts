import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { AtEnd } from './process.ts';

/** A request that an endpoint got. */
export interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  /** As it came. */
  body: string;
  /** Epoch milliseconds. */
  at: number;
}

type Answer = (response: ServerResponse, request: Received, number: number) => void;

const ok: Answer = response => response.writeHead(204).end();

/** An endpoint on loopback for one test. Without another answer it takes everything. */
export async function startReceiver(answer: Answer = ok, host = '127.0.0.1', atEnd: AtEnd = onTestFinished) {
  const received: Received[] = [];
  /** Those who wait for a request. */
  const looks = new Set<(one: Received) => void>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', chunk => chunks.push(chunk));
    request.on('end', () => {
      const { url = '', headers } = request;
      const one = { path: url, headers, body: Buffer.concat(chunks).toString(), at: Date.now() };
      received.push(one);
      for (const look of [...looks]) look(one);
      receiver.answer(response, one, received.length);
    });
  });
  await new Promise<void>(resolve => server.listen(0, host, resolve));
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  const receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    received,
    answer,
    /** The first request with this text in its body, as soon as it has come: only the limit of the test ends the wait. */
    having: (text: string) =>
      new Promise<Received>(resolve => {
        const look = (one: Received) => {
          if (!one.body.includes(text)) return;
          looks.delete(look);
          resolve(one);
        };
        looks.add(look);
        for (const one of received) look(one);
      }),
    /** The events that it got, by their requests. */
    events: () => received.map(({ body }) => JSON.parse(body).data),
  };
  return receiver;
}

/** The settings that let webhooks reach {@link startReceiver}. */
export const toLoopback = { ROLE: 'all', WEBHOOK_ALLOW_CIDRS: '127.0.0.0/8', POLL_INTERVAL_MS: '50' } as const;
