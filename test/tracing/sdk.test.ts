import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { json } from 'node:stream/consumers';
import { SpanStatusCode } from '@opentelemetry/api';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { newUid } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { createServices } from '../../src/services.ts';
import { AttemptCancellation } from '../../src/worker/cancellation.ts';
import { createDispatcher } from '../../src/worker/dispatcher.ts';
import { startApp } from '../helpers/app.ts';
import { scratchDatabase } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import type { EndedSpan } from '../helpers/otel.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { activeSpan, CHAT, TracedApp } from '../helpers/traced-app.ts';
import { idsOf, newTraceparent } from '../helpers/traces.ts';

describe('with an SDK', () => {
  const traced = new TracedApp();

  it('a trace goes from the request over its handler and what that publishes to the next handler', async () => {
    const caller = newTraceparent();
    const headers = { 'content-type': 'application/json', traceparent: caller };
    const body = JSON.stringify(signal('completion', { run_id: 'chain' }));
    expect((await fetch(`${traced.address}/control-signals`, { method: 'POST', body, headers })).status).toBe(201);
    const second = await traced.single(`process ${CHAT}`);
    const request = await traced.single('POST /control-signals');
    const first = await traced.single('process forum.events.control.signal');
    const publishing = await traced.single('POST /outbox');

    expect(request).toMatchObject({ kind: 'SERVER', parent: idsOf(caller).span_id });
    expect(first).toMatchObject({ kind: 'CONSUMER', parent: request.span_id });
    expect(publishing).toMatchObject({ kind: 'SERVER', parent: first.span_id });
    expect(second).toMatchObject({ kind: 'CONSUMER', parent: publishing.span_id });
    for (const span of traced.spans)
      expect(span).toMatchObject({ trace_id: idsOf(caller).trace_id, status: { code: 0 } });

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
    expect(idsOf(await traced.stored(message_id))).toEqual({ trace_id: first.trace_id, span_id: request.span_id });
    // Before and after it has waited for something.
    expect(traced.handled.get(message_id)?.active).toEqual([first.span_id, first.span_id]);
    expect(idsOf(traced.handled.get(message_id)?.traceparent as string).span_id).toBe(first.span_id);
    expect(traced.handled.get(String(second.attributes['messaging.message.id']))?.active).toEqual([second.span_id]);
  });

  it('what a command makes belongs to the span of the command', async () => {
    const payload = { title: 'Which region?', body: 'Two.', actor: { type: 'agent', name: 'builder' } };
    await traced.publish({ topic: 'forum.commands.open_thread', payload });
    const event = await traced.single('process forum.events.thread.opened');
    const command = await traced.single('process forum.commands.open_thread');
    expect(command).toMatchObject({ parent: (await traced.single('POST /outbox')).span_id, status: { code: 0 } });
    expect(event).toMatchObject({ parent: command.span_id, trace_id: command.trace_id });
    const { items } = (await traced.service.send('GET', '/events?event_type=forum.thread.opened')).body;
    // The command has run with its span active, though in a transaction that others may have begun.
    expect(traced.made.get(items.at(-1).event_id.replace('evt_', ''))).toBe(command.span_id);
  });

  it('requests without a caller begin traces of their own, also on one connection', async () => {
    const messages = [
      await traced.publish({ topic: CHAT, payload: 1 }),
      await traced.publish({ topic: CHAT, payload: 2 }),
    ];
    const requests = await traced.ended('POST /outbox', 2);
    expect(new Set(requests.map(span => span.trace_id)).size).toBe(2);
    for (const [index, span] of requests.entries()) {
      expect(span.parent).toBeUndefined();
      const { trace_id, span_id } = span;
      expect(idsOf(await traced.stored(messages[index] as string))).toEqual({ trace_id, span_id });
    }
  });

  it('requests that share a transaction work each in its own span', async () => {
    const callers = Array.from({ length: 20 }, newTraceparent);
    const published = await Promise.all(
      callers.map(traceparent => traced.publish({ topic: CHAT, payload: null }, { traceparent })),
    );
    const requests = await traced.ended('POST /outbox', 20);
    for (const [index, message_id] of published.entries()) {
      const { trace_id, span_id } = idsOf(callers[index] as string);
      const own = requests.find(span => span.parent === span_id) as EndedSpan;
      expect(idsOf(await traced.stored(message_id))).toEqual({ trace_id, span_id: own.span_id });
      expect(traced.made.get(message_id.replace('msg_', ''))).toBe(own.span_id);
    }
  });

  it.each([
    ['now', { name: 'TypeError', message: 'not now' }],
    ['later', { name: '_OTHER', message: 'not later' }],
  ])('an attempt that fails (%s) has a span that says so, and the next one another', async (name, exception) => {
    await traced.publish({ topic: `forum.integration.${name}`, payload: null });
    const attempts = await traced.ended(`process forum.integration.${name}`, 2);
    const { span_id: parent } = await traced.single('POST /outbox');
    const status = { code: SpanStatusCode.ERROR, message: exception.message };
    for (const span of attempts) {
      expect(span).toMatchObject({ parent, status, exceptions: [exception] });
      expect(span.attributes['error.type']).toBe(exception.name);
    }
    expect(new Set(attempts.map(span => span.span_id)).size).toBe(2);
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
    traced.recording = 'none';
    await idle.send('POST', '/outbox', { topic: CHAT, payload: null });
    traced.recording = 'all';
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
    const request = await traced.single('POST /bus/process');
    const handling = await traced.single(`process ${CHAT}`);
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
    await services.start();
    const { settleWith } = services.delivery.deliveries;
    const dispatch = createDispatcher({
      ...services,
      handlers: new Map(services.delivery.handlers.map(one => [one.name, one])),
      random: () => 0,
      log,
      settleWith,
    });
    await services.db.write(tx => services.delivery.outbox.publish(tx, { topic: CHAT, payload: null }));
    const [delivery] = await services.delivery.deliveries.claim(1);
    if (!delivery) throw new Error('nothing was due');
    expect(dispatch(delivery, new AttemptCancellation())).toEqual({ kind: 'sent' });
    expect(traced.spans).toMatchObject([{ name: `process ${CHAT}`, parent: undefined }]);
  });
});
