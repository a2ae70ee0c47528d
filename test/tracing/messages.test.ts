import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import type { HandlerContext } from '../../src/worker/handler.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { newTraceparent } from '../helpers/traces.ts';

const TOPIC = 'forum.integration.chat';

interface Handled {
  by: string;
  topic: string;
  generation: number;
  attempt: number;
  traceparent: string | undefined;
}

describe.each(engines)('the trace of a message on %s', engine => {
  let service: TestApp;
  let address: string;
  let handled: Handled[];

  /** A handler that is seen, and then does something. */
  const seen = (topic: string, by: string, act: (context: HandlerContext) => unknown = () => {}) =>
    handler(
      topic,
      (message, context) => {
        const { attempt, traceparent } = context;
        handled.push({ by, topic: message.topic, generation: message.generation, attempt, traceparent });
        return act(context);
      },
      { name: by },
    );

  const publishing = async ({ traceparent }: HandlerContext) => {
    const body = JSON.stringify({ topic: TOPIC, payload: 'asked' });
    const headers = { 'content-type': 'application/json', ...(traceparent && { traceparent }) };
    expect((await fetch(`${address}/outbox`, { method: 'POST', body, headers })).status).toBe(201);
  };
  const failing = () => {
    throw new Error('down');
  };

  beforeAll(async () => {
    handled = [];
    const handlers = [
      seen('forum.events.question.opened', 'publishing', publishing),
      seen(TOPIC, 'chat'),
      seen('forum.integration.two', 'a'),
      seen('forum.integration.two', 'b'),
      seen('forum.integration.down', 'failing', failing),
      seen('forum.events.thread.opened', 'threads'),
    ];
    const retries = { BACKOFF_BASE_MS: '1', BACKOFF_CAP_MS: '1', MAX_ATTEMPTS: '2', POLL_INTERVAL_MS: '10' };
    service = await startApp(engine, { config: { ROLE: 'all', ...retries }, overrides: { handlers, random: () => 0 } });
    address = await service.app.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(() => service.close());

  const publish = async (topic: string, traceparent: string, fields: object = { payload: null }) =>
    (await service.send('POST', '/outbox', { topic, ...fields }, { traceparent })).body.message_id;
  const message = async (id: string) => (await service.send('GET', `/outbox/${id}`)).body;
  const becomes = (id: string, status: string) =>
    expect.poll(async () => (await message(id)).status, { interval: 5, timeout: 10_000 }).toBe(status);
  const handledIn = (traceparent: string | undefined) => handled.filter(one => one.traceparent === traceparent);
  /** Waits for so many calls of handlers in a trace. */
  const reach = async (count: number, traceparent: string | undefined) => {
    await expect.poll(() => handledIn(traceparent).length, { interval: 5, timeout: 10_000 }).toBe(count);
    return handledIn(traceparent);
  };
  /** Types of the events and topics of the published messages that are stored with a trace. */
  const stored = async (traceparent: string) => {
    const rows = await sqlBeside(
      service.url,
      `select event_type as stored, traceparent, sequence as place from events
       union all select topic, traceparent, 1000000 + number from messages order by place`,
    );
    return rows.filter(row => row.traceparent === traceparent).map(row => row.stored);
  };

  it('is that of the request, from one service over a handler to another', async () => {
    const traceparent = newTraceparent();
    const headers = { 'content-type': 'application/json', traceparent, tracestate: 'vendor=value' };
    const body = JSON.stringify(signal('guidance_request', { run_id: 'traced' }));
    expect((await fetch(`${address}/control-signals`, { method: 'POST', body, headers })).status).toBe(201);
    const by = (await reach(3, traceparent)).map(one => one.by);
    expect(by.toSorted()).toEqual(['chat', 'publishing', 'threads']);
    expect(by.indexOf('chat')).toBeGreaterThan(by.indexOf('publishing'));
    const types = [
      'forum.control.signal',
      TOPIC,
      'forum.question.opened',
      'forum.state.changed',
      'forum.thread.opened',
    ];
    expect((await stored(traceparent)).toSorted()).toEqual(types);
  });

  it('is none if the request names none', async () => {
    await service.send('POST', '/control-signals', signal('completion', { run_id: 'untraced' }));
    expect(await reach(1, undefined)).toMatchObject([{ by: 'threads' }]);
    for (const { message_id } of (await service.send('GET', '/outbox?topic=forum.events.thread.opened')).body.items) {
      const { payload, traceparent } = await message(message_id);
      expect(traceparent === null).toBe(payload.run_id === 'untraced');
    }
  });

  it('reaches each of several handlers', async () => {
    const traceparent = newTraceparent();
    await publish('forum.integration.two', traceparent);
    expect((await reach(2, traceparent)).map(({ by }) => by).toSorted()).toEqual(['a', 'b']);
    expect(await stored(traceparent)).toEqual(['forum.integration.two']);
  });

  it('is kept by retries and by a replay, whatever trace asks for that', async () => {
    const traceparent = newTraceparent();
    const id = await publish('forum.integration.down', traceparent);
    await becomes(id, 'dead');
    await service.send('POST', `/outbox/${id}/replay`, undefined, { traceparent: newTraceparent() });
    const calls = await reach(4, traceparent);
    expect(calls.map(({ generation, attempt }) => [generation, attempt])).toEqual([
      [1, 1],
      [1, 2],
      [2, 1],
      [2, 2],
    ]);
    await becomes(id, 'dead');
    expect(await message(id)).toMatchObject({ traceparent });
  });

  it('is kept when the message is published again', async () => {
    const [first, again] = [newTraceparent(), newTraceparent()];
    const fields = { message_id: 'once', payload: 1 };
    for (const traceparent of [first, again]) expect(await publish(TOPIC, traceparent, fields)).toBe('once');
    expect(await message('once')).toMatchObject({ traceparent: first });
  });

  it('is passed on by a command to the events that it makes', async () => {
    const traceparent = newTraceparent();
    const payload = { title: 'Which region?', body: 'Two.', actor: { type: 'agent', name: 'builder' } };
    await publish('forum.commands.open_thread', traceparent, { payload });
    expect(await reach(1, traceparent)).toMatchObject([{ by: 'threads' }]);
    expect(await stored(traceparent)).toEqual([
      'forum.thread.opened',
      'forum.post.added',
      'forum.commands.open_thread',
    ]);
  });

  it('is stored with events that nobody subscribes to', async () => {
    const traceparent = newTraceparent();
    await service.send('POST', '/control-signals', signal('completion', { run_id: 'quiet' }), { traceparent });
    expect(await stored(traceparent)).toContain('forum.control.signal');
  });

  it('is its own for each of many requests at the same moment', async () => {
    const traces = Array.from({ length: 40 }, newTraceparent);
    const ids = await Promise.all(traces.map(traceparent => publish(TOPIC, traceparent)));
    expect(await Promise.all(ids.map(async id => (await message(id)).traceparent))).toEqual(traces);
  });
});

describe('log lines', () => {
  it('of a request and of a handler name its trace', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase('sqlite'));
    const out = new PassThrough();
    const lines: Record<string, unknown>[] = [];
    const reading = createInterface(out).on('line', line => lines.push(JSON.parse(line)));
    const handlers = [handler(TOPIC, (_message, { log }) => log.info('handled'))];
    const app = await buildApp(readConfig({ DATABASE_URL, ROLE: 'all' }), pino({ level: 'info' }, out), { handlers });
    await app.ready();
    const traceparent = newTraceparent();
    const post = (id: string, payload: object, headers: Record<string, string>) =>
      app.inject({ method: 'POST', url: '/outbox', payload, headers: { 'x-request-id': id, ...headers } });
    await post('traced', { topic: TOPIC, payload: null }, { traceparent });
    await post('refused', { topic: '' }, { traceparent });
    await post('untraced', { topic: 'forum.integration.other', payload: null }, { traceparent: 'malformed' });
    await expect.poll(() => lines.filter(({ msg }) => msg === 'handled'), { interval: 5 }).toHaveLength(1);
    await app.close();
    const closed = once(reading, 'close');
    out.end();
    await closed;
    const trace_id = traceparent.split('-')[1];
    const ofRequest = (id: string) =>
      lines.filter(line => line.request_id === id).map(line => [line.msg, line.trace_id]);
    expect(ofRequest('traced')).toEqual([
      ['incoming request', trace_id],
      ['request completed', trace_id],
    ]);
    expect(ofRequest('refused')).toEqual([
      ['incoming request', trace_id],
      ['request refused', trace_id],
      ['request completed', trace_id],
    ]);
    expect(ofRequest('untraced')).toEqual([
      ['incoming request', undefined],
      ['request completed', undefined],
    ]);
    expect(lines.filter(({ msg }) => msg === 'handled')).toMatchObject([{ topic: TOPIC, trace_id }]);
  });
});
