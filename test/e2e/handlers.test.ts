import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { handlersFolder, listenForCalls, obedient } from '../helpers/handlers.ts';
import { type AtEnd, forThisTest, type ServiceProcess, spawnService, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

const TOPIC = 'forum.integration.x';
const within = { timeout: 10_000, interval: 20 };
const killed = { code: null, signal: 'SIGKILL' };

/** A database, a folder with a handler that calls the test, and the settings of a service that has both. */
async function prepare(engine: Engine, handlers: Record<string, string> = {}, atEnd?: AtEnd) {
  const database = await forThisTest(scratchDatabase(engine), atEnd);
  const calls = await listenForCalls(atEnd);
  const files = { 'x.ts': obedient('forum.integration.**'), ...handlers };
  const env = {
    DATABASE_URL: database.url,
    CALLS_URL: calls.url,
    HANDLERS_DIR: await handlersFolder(files, atEnd),
    // What a killed process held comes back at its successor's start, long before this.
    LEASE_MS: '3000',
    MAX_ATTEMPTS: '3',
    BACKOFF_BASE_MS: '100',
    POLL_INTERVAL_MS: '50',
  };
  return { database, calls, env };
}

describe.each(engines)('a handler of HANDLERS_DIR on %s', engine => {
  // One process for all of them: each has messages of its own and leaves none behind.
  const ends: Parameters<AtEnd>[0][] = [];
  let calls: Awaited<ReturnType<typeof listenForCalls>>;
  let service: ServiceProcess;
  beforeAll(async () => {
    const atEnd: AtEnd = end => ends.push(end);
    const prepared = await prepare(engine, { 'signals.ts': obedient('forum.events.control.*') }, atEnd);
    calls = prepared.calls;
    service = await startService(prepared.env, {}, atEnd);
  });
  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  });

  it('is given the message and its context, of a control signal and of POST /outbox', async () => {
    const accepted = await service.send('POST', '/control-signals', signal('completion', { summary: 'Done.' }));
    const fromSignal = await calls.next();
    fromSignal.answer('return');
    const { signal_id, sequence, thread_id } = accepted.body.signal;
    expect(fromSignal.body.message).toMatchObject({
      topic: 'forum.events.control.signal',
      message_key: thread_id,
      payload: { event_type: 'forum.control.signal', sequence, thread_id, payload: { signal_id, summary: 'Done.' } },
    });

    const sent = {
      topic: 'forum.integration.a.b',
      message_key: 'lane',
      message_id: 'mine',
      payload: { list: [1, null] },
    };
    expect((await service.send('POST', '/outbox', sent)).status).toBe(201);
    const fromOutbox = await calls.next();
    fromOutbox.answer('return');
    expect(fromOutbox.body).toMatchObject({ message: sent, attempt: 1, aborted: false });
    expect(fromOutbox.body.idempotency_key).toContain('mine');
    expect(fromOutbox.body.idempotency_key).not.toBe(fromSignal.body.idempotency_key);
    expect(await settled(service, 'mine', 'sent')).toMatchObject({ attempts: 1, last_error: null });
    // context.log writes to the service's log and says which message it is about.
    // The line comes through a pipe of its own, so it may come later than the state.
    const said = () => service.logs.filter(line => line.msg === 'the test has answered');
    const expected = { message_id: 'mine', topic: 'forum.integration.a.b', attempt: 1 };
    await expect.poll(said).toContainEqual(expect.objectContaining(expected));
  });

  it('that throws is retried with growing pauses, and its message ends dead', async () => {
    const message_id = await publish(service);
    for (const attempt of [1, 2, 3]) {
      const call = await calls.next();
      expect(call.body).toMatchObject({ attempt, message: { message_id } });
      call.answer('throw');
    }
    const message = await settled(service, message_id, 'dead');
    expect(message).toMatchObject({ attempts: 3, last_error: 'the test said so' });
    const history: { outcome: string; started_at: string; duration_ms: number }[] = message.attempt_history;
    expect(history.map(attempt => attempt.outcome)).toEqual(['failed', 'failed', 'dead']);
    const pauses = history.map(({ started_at }, index) => {
      const before = history[index - 1];
      return before ? Date.parse(started_at) - Date.parse(before.started_at) - before.duration_ms : 0;
    });
    // Half of the delay is fixed; the random half can only add to it.
    expect(pauses[1]).toBeGreaterThanOrEqual(50);
    expect(pauses[2]).toBeGreaterThanOrEqual(100);
  });

  it('that throws permanent() has no second attempt', async () => {
    const message_id = await publish(service);
    (await calls.next()).answer('permanent');
    const message = await settled(service, message_id, 'dead');
    expect(message).toMatchObject({ attempts: 1, last_error: 'no retry can help' });
  });

  it('that throws retryAt() is called again then, and uses up no attempt', async () => {
    const message_id = await publish(service);
    // More often than there are attempts.
    for (const _ of [1, 2, 3, 4]) {
      const call = await calls.next();
      expect(call.body.attempt).toBe(1);
      const until = Date.now() + 100;
      call.answer(`until ${new Date(until).toISOString()}`);
      const again = await calls.next();
      expect(again.body.at).toBeGreaterThanOrEqual(until);
      expect(again.body.attempt).toBe(1);
      again.answer(`until ${new Date().toISOString()}`);
    }
    (await calls.next()).answer('return');
    expect(await settled(service, message_id, 'sent')).toMatchObject({ attempts: 1 });
  });
});

describe.each(engines)('a handler of HANDLERS_DIR, over restarts, on %s', engine => {
  let calls: Awaited<ReturnType<typeof listenForCalls>>;
  let database: Scratch;
  let env: Awaited<ReturnType<typeof prepare>>['env'];
  beforeEach(async () => {
    ({ calls, database, env } = await prepare(engine));
  });

  it('that is missing leaves its messages failed, and they are delivered when it appears', async () => {
    const service = await startApp(engine, {
      database,
      config: { ...env, ROLE: 'all', HANDLERS_DIR: await handlersFolder({}) },
    });
    onTestFinished(service.close);
    const ids = [await publish(service), await publish(service, { message_key: 'lane' })];
    for (const id of ids) {
      const message = await settled(service, id, 'failed');
      expect(message).toMatchObject({ attempts: 0, last_error: `no handler for topic ${TOPIC}` });
    }
    // Probes share one look for half a second.
    await vi.waitFor(async () => {
      const { status, body } = await service.send('GET', '/bus/health');
      expect(status).toBe(200);
      expect(body).toMatchObject({ status: 'degraded', outbox: { failed: 2 }, topics_without_handler: [TOPIC] });
    }, within);
    await service.close();

    const again = await startService(env);
    for (const _ of ids) (await calls.next()).answer('return');
    for (const id of ids) expect(await settled(again, id, 'sent')).toMatchObject({ attempts: 1 });
    await vi.waitFor(async () => {
      expect((await again.send('GET', '/bus/health')).body).toMatchObject({ status: 'ok', topics_without_handler: [] });
    }, within);
  });

  it('that kills its process every time has its message end dead', async () => {
    const publisher = await startApp(engine, { database, config: { MAX_ATTEMPTS: env.MAX_ATTEMPTS } });
    const message_id = await publish(publisher);
    await publisher.close();
    for (const attempt of [1, 2, 3]) {
      const service = spawnService(env);
      const call = await calls.next();
      expect(call.body.attempt).toBe(attempt);
      call.answer('kill');
      expect(await service.exited, service.output).toEqual(killed);
    }
    expect(await settled(await startService(env), message_id, 'dead')).toMatchObject({ attempts: 3 });
  });

  it('that is transactional commits its effect together with "sent", once', async () => {
    const url = env.DATABASE_URL;
    await sqlBeside(url, 'create table effects (attempt integer not null)');
    await writeFile(
      join(env.HANDLERS_DIR, 'x.ts'),
      `import { writeSync } from 'node:fs';
       export const topic = '${TOPIC}';
       export const transactional = true;
       export async function handle(message: unknown, { tx, attempt }: any): Promise<void> {
         await tx.insertInto('effects').values({ attempt }).execute();
         if (attempt === 1) process.kill(process.pid, 'SIGKILL');
         if (attempt === 2) throw new Error('after the effect');
       }`,
    );
    const first = await startService(env);
    const sending = publish(first).catch(() => undefined);
    expect(await first.exited).toEqual(killed);
    await sending;
    expect(await sqlBeside(url, 'select attempt from effects')).toEqual([]);

    const second = await startService(env);
    const [{ message_id }] = (await second.send('GET', `/outbox?topic=${TOPIC}`)).body.items;
    const message = await settled(second, message_id, 'sent');
    expect(message.attempt_history).toMatchObject([
      { attempt: 2, outcome: 'failed' },
      { attempt: 3, outcome: 'sent' },
    ]);
    expect(await sqlBeside(url, 'select attempt from effects')).toEqual([{ attempt: 3 }]);
  });
});

async function publish(service: Pick<TestApp, 'send'>, fields: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await service.send('POST', '/outbox', { topic: TOPIC, payload: {}, ...fields });
  expect(status).toBe(201);
  return body.message_id;
}

/** The message, with its history, once it has this status. */
async function settled(service: Pick<TestApp, 'send'>, messageId: string, status: string) {
  return vi.waitFor(async () => {
    const { body } = await service.send('GET', `/outbox/${messageId}`);
    expect(body.status, JSON.stringify(body)).toBe(status);
    return body;
  }, within);
}
