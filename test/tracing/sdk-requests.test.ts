import { once } from 'node:events';
import { context, SpanStatusCode, trace } from '@opentelemetry/api';
import { describe, expect, it } from 'vitest';
import { signal } from '../helpers/signals.ts';
import { CHAT, TracedApp } from '../helpers/traced-app.ts';
import { idsOf, newTraceparent } from '../helpers/traces.ts';

describe('with an SDK', () => {
  const traced = new TracedApp();

  it('the span of a request has its answer, and is an error if the service has failed', async () => {
    await traced.service.send('GET', '/questions/none?wait=0');
    expect(await traced.single('GET /questions/:question_id')).toMatchObject({
      attributes: { 'http.response.status_code': 404, 'url.path': '/questions/none' },
      status: { code: SpanStatusCode.UNSET },
    });
    await traced.service.send('GET', '/nowhere');
    await traced.service.app.inject({ method: 'GET', url: '/outbox/%zz' });
    const [nowhere, malformed] = await traced.ended('GET', 2);
    expect(nowhere?.attributes).toMatchObject({ 'http.response.status_code': 404, 'url.path': '/nowhere' });
    expect(nowhere?.attributes).not.toHaveProperty('http.route');
    expect(malformed?.attributes).toMatchObject({ 'http.response.status_code': 400 });
    traced.failing = true;
    expect((await traced.service.send('POST', '/outbox', { topic: CHAT, payload: null })).status).toBe(500);
    traced.failing = false;
    expect(await traced.single('POST /outbox')).toMatchObject({
      attributes: { 'http.response.status_code': 500, 'error.type': '500' },
      status: { code: SpanStatusCode.ERROR },
    });
  });

  it('the span of a request whose client goes away ends without an answer', async () => {
    const { body } = await traced.service.send(
      'POST',
      '/control-signals',
      signal('guidance_request', { run_id: 'left' }),
    );
    const url = `${traced.address}/questions/${body.question.question_id}?wait=50`;
    const leaving = new AbortController();
    const arrived = once(traced.service.app.server, 'request');
    const waiting = fetch(url, { signal: leaving.signal }).catch(error => error.name);
    await arrived;
    leaving.abort();
    expect(await waiting).toBe('AbortError');
    const span = await traced.single('GET /questions/:question_id');
    expect(span.attributes).not.toHaveProperty('http.response.status_code');
  });

  it('a request inside the span of an instrumentation of HTTP becomes its child', async () => {
    const outer = trace.getTracer('test').startSpan('outer');
    const inside = trace.setSpan(context.active(), outer);
    // What the header says has been read by the instrumentation already.
    const headers = { traceparent: newTraceparent() };
    await context.with(inside, () => traced.service.send('POST', '/outbox', { topic: CHAT, payload: null }, headers));
    const { traceId: trace_id, spanId: parent } = outer.spanContext();
    expect(await traced.single('POST /outbox')).toMatchObject({ kind: 'INTERNAL', trace_id, parent });
  });

  it('a request that is not sampled says so to its handlers', async () => {
    traced.recording = 'unsampled';
    const traceparent = newTraceparent();
    const message_id = await traced.publish({ topic: CHAT, payload: null }, { traceparent });
    const passed = await traced.stored(message_id);
    expect(idsOf(passed).trace_id).toBe(idsOf(traceparent).trace_id);
    expect(idsOf(passed).span_id).not.toBe(idsOf(traceparent).span_id);
    expect(passed).toMatch(/-00$/);
    expect(traced.spans).toEqual([]);
  });

  it('a trace passes through where the SDK makes no spans', async () => {
    traced.recording = 'none';
    const traceparent = newTraceparent();
    const message_id = await traced.publish({ topic: CHAT, payload: null }, { traceparent });
    expect(await traced.stored(message_id)).toBe(traceparent);
    await expect.poll(() => traced.handled.get(message_id)?.traceparent, { interval: 5 }).toBe(traceparent);
    const untraced = await traced.publish({ topic: CHAT, payload: null });
    expect(await traced.stored(untraced)).toBeNull();
    await expect.poll(() => traced.handled.has(untraced), { interval: 5 }).toBe(true);
    expect(traced.handled.get(untraced)?.traceparent).toBeUndefined();
  });
});
