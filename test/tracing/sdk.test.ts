import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { json } from 'node:stream/consumers';
import { context, SpanStatusCode, trace } from '@opentelemetry/api';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { Cancellation } from '../../src/bus/cancellation.ts';
import { createDispatcher } from '../../src/bus/dispatcher.ts';
import type { HandlerContext } from '../../src/bus/handler.ts';
import { newUid } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { createServices } from '../../src/services.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { scratchDatabase } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import { type EndedSpan, type Recording, registerSdk, unregisterSdk } from '../helpers/otel.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { newTraceparent } from '../helpers/traces.ts';

const CHAT = 'forum.integration.chat';

const activeSpan = () => trace.getActiveSpan()?.spanContext().spanId;
/** The ids of a trace and of the span that a traceparent names. */
const ids = (traceparent: string) => ({
  trace_id: traceparent.split('-')[1] as string,
  span_id: traceparent.split('-')[2] as string,
});

describe('with an SDK', () => {
  let service: TestApp;
  let address: string;
  let spans: EndedSpan[] = [];
  let recording: Recording = 'all';
  /** Which span was active in handlers, and what they were given, by message id. */
  const handled = new Map<string, { active: (string | undefined)[]; traceparent: string | undefined }>();
  /** Which span was active when an id was made. */
  const made = new Map<string, string | undefined>();
  let failing = false;

  const makeUid = () => {
    if (failing) throw new Error('out of ids');
    const id = newUid();
    made.set(id, activeSpan());
    return id;
  };
  const publish = async (body: object, headers: Record<string, string> = {}) => {
    const json = { 'content-type': 'application/json', ...headers };
    const answer = await fetch(`${address}/outbox`, { method: 'POST', body: JSON.stringify(body), headers: json });
    expect(answer.status).toBe(201);
    return ((await answer.json()) as { message_id: string }).message_id;
  };

  beforeAll(async () => {
    registerSdk(
      span => spans.push(span),
      () => recording,
    );
    const noting = (message_id: string, { traceparent }: HandlerContext) => {
      const noted = handled.get(message_id) ?? { active: [], traceparent };
      noted.active.push(activeSpan());
      handled.set(message_id, noted);
    };
    const handlers = [
      handler(
        'forum.events.control.signal',
        async ({ message_id }, given) => {
          noting(message_id, given);
          await new Promise(resolve => setImmediate(resolve));
          noting(message_id, given);
          if (given.traceparent) await publish({ topic: CHAT, payload: null }, { traceparent: given.traceparent });
        },
        { name: 'publishing' },
      ),
      handler(CHAT, ({ message_id }, given) => noting(message_id, given), { name: 'chat' }),
      handler('forum.events.thread.opened', ({ message_id }, given) => noting(message_id, given), { name: 'threads' }),
      handler(
        'forum.integration.now',
        () => {
          throw new TypeError('not now');
        },
        { name: 'now' },
      ),
      handler('forum.integration.later', async () => Promise.reject('not later'), { name: 'later' }),
    ];
    const config = {
      ROLE: 'all',
      MAX_ATTEMPTS: '2',
      BACKOFF_BASE_MS: '1',
      BACKOFF_CAP_MS: '1',
      POLL_INTERVAL_MS: '10',
    };
    service = await startApp('sqlite', { config, overrides: { handlers, newUid: makeUid, random: () => 0 } });
    address = await service.app.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(async () => {
    await service.close();
    unregisterSdk();
  });
  beforeEach(() => {
    spans = [];
    recording = 'all';
  });
  afterEach(async () => {
    expect(activeSpan()).toBeUndefined();
    // What is still being handled would leave its spans to the next test.
    const open = async () => {
      const { pending, processing, failed } = (await service.send('GET', '/outbox/stats')).body.by_status;
      return pending + processing + failed;
    };
    await expect.poll(open, { interval: 5, timeout: 10_000 }).toBe(0);
  });

  const stored = async (id: string): Promise<string> => (await service.send('GET', `/outbox/${id}`)).body.traceparent;
  /** Waits for as many spans of a name as there will be. */
  const ended = async (name: string, count = 1): Promise<EndedSpan[]> => {
    const found = () => spans.filter(span => span.name === name);
    await expect.poll(() => found().length, { interval: 5, timeout: 10_000 }).toBe(count);
    return found();
  };
  const only = async (name: string): Promise<EndedSpan> => (await ended(name))[0] as EndedSpan;

  it('a trace goes from the request over its handler and what that publishes to the next handler', async () => {
    const caller = newTraceparent();
    const headers = { 'content-type': 'application/json', traceparent: caller };
    const body = JSON.stringify(signal('completion', { run_id: 'chain' }));
    expect((await fetch(`${address}/control-signals`, { method: 'POST', body, headers })).status).toBe(201);
    const second = await only(`process ${CHAT}`);
    const request = await only('POST /control-signals');
    const first = await only('process forum.events.control.signal');
    const publishing = await only('POST /outbox');

    expect(request).toMatchObject({ kind: 'SERVER', parent: ids(caller).span_id });
    expect(first).toMatchObject({ kind: 'CONSUMER', parent: request.span_id });
    expect(publishing).toMatchObject({ kind: 'SERVER', parent: first.span_id });
    expect(second).toMatchObject({ kind: 'CONSUMER', parent: publishing.span_id });
    for (const span of spans) expect(span).toMatchObject({ trace_id: ids(caller).trace_id, status: { code: 0 } });

    expect(request.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/control-signals',
      'url.path': '/control-signals',
      'url.scheme': 'http',
      'http.response.status_code': 201,
    });
    const message_id = String(first.attributes['messaging.message.id']);
    expect(first.attributes).toEqual({
      'messaging.system': 'forumbus',
      'messaging.operation.type': 'process',
      'messaging.operation.name': 'process',
      'messaging.destination.name': 'forum.events.control.signal',
      'messaging.message.id': message_id,
      'messaging.consumer.group.name': 'publishing',
    });
    expect(ids(await stored(message_id))).toEqual({ trace_id: first.trace_id, span_id: request.span_id });
    // Before and after it has waited for something.
    expect(handled.get(message_id)?.active).toEqual([first.span_id, first.span_id]);
    expect(ids(handled.get(message_id)?.traceparent as string).span_id).toBe(first.span_id);
    expect(handled.get(String(second.attributes['messaging.message.id']))?.active).toEqual([second.span_id]);
  });

  it('what a command makes belongs to the span of the command', async () => {
    const payload = { title: 'Which region?', body: 'Two.', actor: { type: 'agent', name: 'builder' } };
    await publish({ topic: 'forum.commands.open_thread', payload });
    const event = await only('process forum.events.thread.opened');
    const command = await only('process forum.commands.open_thread');
    expect(command).toMatchObject({ parent: (await only('POST /outbox')).span_id, status: { code: 0 } });
    expect(event).toMatchObject({ parent: command.span_id, trace_id: command.trace_id });
    const { items } = (await service.send('GET', '/events?event_type=forum.thread.opened')).body;
    // The command has run with its span active, though in a transaction that others may have begun.
    expect(made.get(items.at(-1).event_id.replace('evt_', ''))).toBe(command.span_id);
  });

  it('requests without a caller begin traces of their own, also on one connection', async () => {
    const messages = [await publish({ topic: CHAT, payload: 1 }), await publish({ topic: CHAT, payload: 2 })];
    const requests = await ended('POST /outbox', 2);
    expect(new Set(requests.map(span => span.trace_id)).size).toBe(2);
    for (const [index, span] of requests.entries()) {
      expect(span.parent).toBeUndefined();
      const { trace_id, span_id } = span;
      expect(ids(await stored(messages[index] as string))).toEqual({ trace_id, span_id });
    }
  });

  it('requests that share a transaction work each in its own span', async () => {
    const callers = Array.from({ length: 20 }, newTraceparent);
    const published = await Promise.all(
      callers.map(traceparent => publish({ topic: CHAT, payload: null }, { traceparent })),
    );
    const requests = await ended('POST /outbox', 20);
    for (const [index, message_id] of published.entries()) {
      const { trace_id, span_id } = ids(callers[index] as string);
      const own = requests.find(span => span.parent === span_id) as EndedSpan;
      expect(ids(await stored(message_id))).toEqual({ trace_id, span_id: own.span_id });
      expect(made.get(message_id.replace('msg_', ''))).toBe(own.span_id);
    }
  });

  it.each([
    ['now', { name: 'TypeError', message: 'not now' }],
    ['later', { name: '_OTHER', message: 'not later' }],
  ])('an attempt that fails (%s) has a span that says so, and the next one another', async (name, exception) => {
    await publish({ topic: `forum.integration.${name}`, payload: null });
    const attempts = await ended(`process forum.integration.${name}`, 2);
    const { span_id: parent } = await only('POST /outbox');
    const status = { code: SpanStatusCode.ERROR, message: exception.message };
    for (const span of attempts) {
      expect(span).toMatchObject({ parent, status, exceptions: [exception] });
      expect(span.attributes['error.type']).toBe(exception.name);
    }
    expect(new Set(attempts.map(span => span.span_id)).size).toBe(2);
  });

  it('the span of a request has its answer, and is an error if the service has failed', async () => {
    await service.send('GET', '/questions/none?wait=0');
    expect(await only('GET /questions/:question_id')).toMatchObject({
      attributes: { 'http.response.status_code': 404, 'url.path': '/questions/none' },
      status: { code: SpanStatusCode.UNSET },
    });
    await service.send('GET', '/nowhere');
    await service.app.inject({ method: 'GET', url: '/outbox/%zz' });
    const [nowhere, malformed] = await ended('GET', 2);
    expect(nowhere?.attributes).toMatchObject({ 'http.response.status_code': 404, 'url.path': '/nowhere' });
    expect(nowhere?.attributes).not.toHaveProperty('http.route');
    expect(malformed?.attributes).toMatchObject({ 'http.response.status_code': 400 });
    failing = true;
    expect((await service.send('POST', '/outbox', { topic: CHAT, payload: null })).status).toBe(500);
    failing = false;
    expect(await only('POST /outbox')).toMatchObject({
      attributes: { 'http.response.status_code': 500, 'error.type': '500' },
      status: { code: SpanStatusCode.ERROR },
    });
  });

  it('the span of a request whose client goes away ends without an answer', async () => {
    const { body } = await service.send('POST', '/control-signals', signal('guidance_request', { run_id: 'left' }));
    const url = `${address}/questions/${body.question.question_id}?wait=50`;
    const leaving = new AbortController();
    const arrived = once(service.app.server, 'request');
    const waiting = fetch(url, { signal: leaving.signal }).catch(error => error.name);
    await arrived;
    leaving.abort();
    expect(await waiting).toBe('AbortError');
    const span = await only('GET /questions/:question_id');
    expect(span.attributes).not.toHaveProperty('http.response.status_code');
  });

  it('a request inside the span of an instrumentation of HTTP becomes its child', async () => {
    const outer = trace.getTracer('test').startSpan('outer');
    const inside = trace.setSpan(context.active(), outer);
    // What the header says has been read by the instrumentation already.
    const headers = { traceparent: newTraceparent() };
    await context.with(inside, () => service.send('POST', '/outbox', { topic: CHAT, payload: null }, headers));
    const { traceId: trace_id, spanId: parent } = outer.spanContext();
    expect(await only('POST /outbox')).toMatchObject({ kind: 'INTERNAL', trace_id, parent });
  });

  it('a request that is not sampled says so to its handlers', async () => {
    recording = 'unsampled';
    const traceparent = newTraceparent();
    const message_id = await publish({ topic: CHAT, payload: null }, { traceparent });
    const passed = await stored(message_id);
    expect(ids(passed).trace_id).toBe(ids(traceparent).trace_id);
    expect(ids(passed).span_id).not.toBe(ids(traceparent).span_id);
    expect(passed).toMatch(/-00$/);
    expect(spans).toEqual([]);
  });

  it('a trace passes through where the SDK makes no spans', async () => {
    recording = 'none';
    const traceparent = newTraceparent();
    const message_id = await publish({ topic: CHAT, payload: null }, { traceparent });
    expect(await stored(message_id)).toBe(traceparent);
    await expect.poll(() => handled.get(message_id)?.traceparent, { interval: 5 }).toBe(traceparent);
    const untraced = await publish({ topic: CHAT, payload: null });
    expect(await stored(untraced)).toBeNull();
    await expect.poll(() => handled.has(untraced), { interval: 5 }).toBe(true);
    expect(handled.get(untraced)?.traceparent).toBeUndefined();
  });

  it('a message without a trace begins one of its own, whoever has it handled', async () => {
    const handlers = [handler(CHAT, () => {})];
    const leases: (string | undefined)[] = [];
    const noted = () => {
      leases.push(activeSpan());
      return newUid();
    };
    const idle = await startApp('sqlite', { overrides: { handlers, newUid: noted } });
    onTestFinished(idle.close);
    const origin = await idle.app.listen({ host: '127.0.0.1', port: 0 });
    recording = 'none';
    await idle.send('POST', '/outbox', { topic: CHAT, payload: null });
    recording = 'all';
    leases.length = 0;
    // The body comes when the request has begun.
    const arrived = once(idle.app.server, 'request');
    const asking = httpRequest(`${origin}/bus/process`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    asking.flushHeaders();
    await arrived;
    asking.end('{"limit":5}');
    const [answer] = await once(asking, 'response');
    expect(await json(answer)).toMatchObject({ claimed: 1, sent: 1 });
    const request = await only('POST /bus/process');
    const handling = await only(`process ${CHAT}`);
    expect(handling.parent).toBeUndefined();
    expect(handling.trace_id).not.toBe(request.trace_id);
    // The request has gone on in its span after its body had arrived.
    expect(leases).toEqual([request.span_id]);
  });

  it('a handler that is not asynchronous has been handled at once', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase('sqlite'));
    const log = pino({ level: 'silent' });
    const handlers = [handler(CHAT, () => {})];
    const services = await createServices(readConfig({ DATABASE_URL, ROLE: 'http' }), log, { handlers });
    onTestFinished(services.close);
    const { settleWith } = services.deliveries;
    const dispatch = createDispatcher({ ...services, random: () => 0, log, settleWith, keptApart: new Set() });
    await services.db.write(tx => services.outbox.publish(tx, { topic: CHAT, payload: null }));
    const [delivery] = await services.deliveries.claim(1);
    if (!delivery) throw new Error('nothing was due');
    expect(dispatch(delivery, new Cancellation())).toEqual({ kind: 'sent' });
    expect(spans).toMatchObject([{ name: `process ${CHAT}`, parent: undefined }]);
  });
});
