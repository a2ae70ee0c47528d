import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { maskTokens } from '../logging.ts';
import { passThrough, readTraceparent, type TracePart, type Tracing, traceIdOf } from '../tracing.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The place of the request in a trace; null outside of any trace. */
    trace: TracePart | null;
  }
}

/** Begins the trace part of a request, and adds the trace id to its log lines. */
export function beginTrace(tracing: Tracing | undefined, request: FastifyRequest, reply: FastifyReply): void {
  const { traceparent: header } = request.headers;
  const traceparent = header === undefined ? null : readTraceparent(String(header));
  if (tracing) request.trace = beginPart(tracing, request, reply, traceparent);
  else if (traceparent !== null) request.trace = passThrough(traceparent);
  if (request.trace?.traceparent) addToLog(request, reply, { trace_id: traceIdOf(request.trace.traceparent) });
}

/** Adds fields to all further log lines of a request. */
export function addToLog(request: FastifyRequest, reply: FastifyReply, fields: object): void {
  request.log = request.log.child(fields);
  reply.log = request.log;
}

function beginPart(
  tracing: Tracing,
  request: FastifyRequest,
  reply: FastifyReply,
  traceparent: string | null,
): TracePart {
  const { method, protocol: scheme, url, routeOptions } = request;
  const path = maskTokens(url.split('?')[0] ?? '');
  const served = tracing.request({ method, scheme, path, route: routeOptions.url }, traceparent);
  // `close` is emitted once per request: after the answer, an abort, or the end of a stream.
  reply.raw.once('close', () => served.end(reply.raw.headersSent ? reply.raw.statusCode : undefined));
  return served;
}

/** Runs each request in the context of its span, from the first hook on. */
export function useTracing(app: FastifyInstance, tracing: Tracing | undefined): void {
  app.decorateRequest('trace', null);
  if (!tracing) return;
  app.addHook('onRequest', ({ trace }, _reply, done) => (trace ? trace.run(done) : done()));
}
