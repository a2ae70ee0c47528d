import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Answer, startApp } from '../helpers/app.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { type Call, handlersFolder, listenForCalls, obedient } from '../helpers/handlers.ts';
import { forThisTest, type ServiceProcess, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';

const TOPIC = 'forum.integration.x';

describe.each(engines)('SIGTERM on %s', engine => {
  let database: Scratch;
  let DATABASE_URL: string;
  beforeEach(async () => {
    database = await forThisTest(scratchDatabase(engine));
    DATABASE_URL = database.url;
  });

  it('ends an idle process in under a second, with keep-alive connections open', async () => {
    const service = await startService({ DATABASE_URL });
    const origin = await service.listening();
    const agent = new Agent({ keepAlive: true });
    const ports = await Promise.all(Array.from({ length: 8 }, () => get(agent, `${origin}/livez`)));
    expect(new Set(ports).size).toBe(8);

    const started = performance.now();
    service.kill('SIGTERM');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - started).toBeLessThan(1000);
    expect(service.stderr).toBe('');
    agent.destroy();
  });

  it('answers a request in flight, though its connection falls idle only then', async () => {
    const service = await startService({ DATABASE_URL });
    const body = JSON.stringify(signal('completion'));
    const agent = new Agent({ keepAlive: true });
    const sending = request(`${await service.listening()}/control-signals`, {
      method: 'POST',
      agent,
      // "100 Continue" tells the test that the service has taken the request in, before it has the body.
      headers: { 'content-type': 'application/json', 'content-length': body.length, expect: '100-continue' },
    });
    sending.flushHeaders();
    await once(sending, 'continue');
    service.kill('SIGTERM');
    await service.line('stopping');
    sending.end(body);
    const [response] = await once(sending, 'response');
    expect(response.statusCode).toBe(201);
    const answered = performance.now();
    const { signal_id } = ((await json(response)) as { signal: { signal_id: string } }).signal;
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - answered).toBeLessThan(1000);
    agent.destroy();

    expect(await found(`/control-signals/${signal_id}`)).toMatchObject({ status: 200 });
  });

  it('lets a handler that runs finish', async () => {
    const { service, message_id, call } = await withRunningHandler({});
    service.kill('SIGTERM');
    await service.line('stopping');
    call.answer('return');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(await stored(message_id)).toMatchObject({ status: 'sent', attempts: 1 });
  });

  it('gives the lease of a handler that does not end back, and no attempt is used up', async () => {
    const { service, message_id } = await withRunningHandler({ SHUTDOWN_GRACE_MS: '200' });
    service.kill('SIGTERM');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(await stored(message_id)).toMatchObject({ status: 'pending', attempts: 0 });
  });

  it('gives the lease of a transactional handler that does not end back as well', async () => {
    const { service, message_id } = await withRunningHandler({ SHUTDOWN_GRACE_MS: '200' }, true);
    service.kill('SIGTERM');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(await stored(message_id)).toMatchObject({ status: 'pending', attempts: 0 });
  });

  it('has one grace for requests and handlers together', async () => {
    const { service, message_id } = await withRunningHandler({ SHUTDOWN_GRACE_MS: '2500' });
    const stuck = request(`${await service.listening()}/control-signals`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': 10, expect: '100-continue' },
    });
    const cut = once(stuck, 'error');
    stuck.flushHeaders();
    await once(stuck, 'continue');
    const started = performance.now();
    service.kill('SIGTERM');
    await cut;
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - started).toBeLessThan(4000);
    expect(await stored(message_id)).toMatchObject({ status: 'pending', attempts: 0 });
  });

  it('ends at once when it comes a second time', async () => {
    const { service } = await withRunningHandler({ SHUTDOWN_GRACE_MS: '60000' });
    service.kill('SIGTERM');
    await service.line('stopping');
    const started = performance.now();
    service.kill('SIGTERM');
    expect(await service.exited).toEqual({ code: 1, signal: null });
    expect(performance.now() - started).toBeLessThan(1000);
  });

  /** A service whose handler has told the test that it runs and waits to be answered. */
  async function withRunningHandler(
    env: Record<string, string>,
    transactional = false,
  ): Promise<{ service: ServiceProcess; message_id: string; call: Call }> {
    const calls = await listenForCalls();
    const HANDLERS_DIR = await handlersFolder({
      'x.ts': `${obedient(TOPIC)} export const transactional = ${transactional};`,
    });
    const service = await startService({ DATABASE_URL, HANDLERS_DIR, CALLS_URL: calls.url, ...env });
    const { message_id } = (await service.send('POST', '/outbox', { topic: TOPIC, payload: {} })).body;
    const call = await calls.next();
    expect(call.body.message.message_id).toBe(message_id);
    return { service, message_id, call };
  }

  /** What the next service on the database answers; that one dispatches nothing. */
  async function found(path: string): Promise<Answer> {
    const next = await startApp(engine, { database });
    try {
      return await next.send('GET', path);
    } finally {
      await next.close();
    }
  }

  const stored = async (messageId: string) => (await found(`/outbox/${messageId}`)).body;
});

describe('SIGTERM while a thread of Node hangs', () => {
  it.each([1, 2])('ends in time after %i signals', async signals => {
    const { service } = await withBusyThread({ SHUTDOWN_GRACE_MS: signals === 1 ? '200' : '60000' });
    const started = performance.now();
    service.kill('SIGTERM');
    await service.line('stopping');
    if (signals === 2) service.kill('SIGTERM');
    expect(await service.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(performance.now() - started).toBeLessThan(signals === 1 ? 4000 : 1000);
    if (signals === 1) expect(service.logs.at(-1)?.msg).toBe('stopped');
  });

  it('ends with 0 if that ends in time', async () => {
    const { service, fifo } = await withBusyThread({ SHUTDOWN_GRACE_MS: '200' });
    service.kill('SIGTERM');
    await service.line('stopped');
    const writer = await open(fifo, 'r+');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    await writer.close();
  });

  /** A service with a handler that opens a pipe without a writer, which takes one of Node's threads. */
  async function withBusyThread(env: Record<string, string>) {
    const { url } = await forThisTest(scratchDatabase('sqlite'));
    const { path } = await forThisTest(scratchFolder());
    const fifo = join(path, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const HANDLERS_DIR = await handlersFolder({
      'x.ts': `import { open } from 'node:fs/promises';
        export const topic = '${TOPIC}';
        export const handle = (_message: unknown, { log }: any) => {
          const opened = open('${fifo}');
          log.info('opens the pipe');
          return opened;
        };`,
    });
    const service = await startService({ DATABASE_URL: url, HANDLERS_DIR, ...env });
    await service.send('POST', '/outbox', { topic: TOPIC, payload: {} });
    await service.line('opens the pipe');
    return { service, fifo };
  }
});

/** One request over a kept connection; answers the local port, which tells connections apart. */
async function get(agent: Agent, url: string): Promise<number | undefined> {
  const sending = request(url, { agent }).end();
  const [response] = await once(sending, 'response');
  const { localPort } = response.socket;
  expect(await json(response)).toEqual({ status: 'ok' });
  return localPort;
}
