import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { type AtEnd, forThisTest } from './process.ts';
import { scratchFolder } from './scratch.ts';

/** A call that a handler made from inside the service; the handler waits for the answer. */
export interface Call {
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever the handler sent
  body: any;
  answer: (text: Verdict) => void;
}

/** What the obedient handler is told to do. `until …` carries a time. */
type Verdict = 'return' | 'throw' | 'permanent' | 'kill' | 'hang' | `until ${string}`;

/**
 * A handler that tells the test of each message, at CALLS_URL, and then does what the test answers. So a test decides
 * when a handler ends, and never has to guess how long one takes.
 */
export const obedient = (topic: string) => `
export const topic = ${JSON.stringify(topic)};
export async function handle(message: { message_id: string }, context: any): Promise<void> {
  const { attempt, idempotency_key, signal } = context;
  const body = { message, attempt, idempotency_key, aborted: signal.aborted, at: Date.now() };
  const response = await fetch(process.env.CALLS_URL as string, { method: 'POST', body: JSON.stringify(body) });
  const verdict = await response.text();
  context.log.info({ verdict }, 'the test has answered');
  if (verdict === 'throw') throw new Error('the test said so');
  if (verdict === 'permanent') throw context.permanent('no retry can help');
  if (verdict === 'kill') process.kill(process.pid, 'SIGKILL');
  if (verdict === 'hang') await new Promise(() => {});
  if (verdict.startsWith('until ')) throw context.retryAt(verdict.slice('until '.length));
}
`;

/** The test's end of the obedient handler. */
export async function listenForCalls(
  atEnd: AtEnd = onTestFinished,
): Promise<{ url: string; next: () => Promise<Call> }> {
  const arrived: Call[] = [];
  const waiting: ((call: Call) => void)[] = [];
  const server = createServer(async (request, response) => {
    const call: Call = { body: JSON.parse(await text(request)), answer: verdict => response.end(verdict) };
    const waiter = waiting.shift();
    if (waiter) waiter(call);
    else arrived.push(call);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async next() {
      return arrived.shift() ?? new Promise(resolve => waiting.push(resolve));
    },
  };
}

/** A scratch HANDLERS_DIR with these files. */
export async function handlersFolder(files: Record<string, string>, atEnd?: AtEnd): Promise<string> {
  const { path } = await forThisTest(scratchFolder(), atEnd);
  await Promise.all(Object.entries(files).map(([name, source]) => writeFile(join(path, name), source)));
  return path;
}
