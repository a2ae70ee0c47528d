import { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import { passing, readTraceparent, type TracePart, type Tracing, traceIdOf } from '../tracing.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Null if the request belongs to no trace. */
    trace: TracePart | null;
  }
}

/**
 * Fastify's log lines of requests. Each request's part in a trace begins with the first of them, so that all of them can
 * name the trace.
 */
export class RequestLog extends LogController {
  readonly #tracing: Tracing | undefined;

  constructor(tracing: Tracing | undefined) {
    super({ requestIdLogLabel: 'request_id' });
    this.#tracing = tracing;
  }

  override incomingRequest(request: FastifyRequest, reply: FastifyReply): void {
    const { traceparent: header } = request.headers;
    const traceparent = header === undefined ? null : readTraceparent(String(header));
    if (this.#tracing) request.trace = begun(this.#tracing, request, reply, traceparent);
    else if (traceparent !== null) request.trace = passing(traceparent);
    if (request.trace?.traceparent) {
      request.log = request.log.child({ trace_id: traceIdOf(request.trace.traceparent) });
      reply.log = request.log;
    }
    super.incomingRequest(request, reply);
  }
}

function begun(tracing: Tracing, request: FastifyRequest, reply: FastifyReply, traceparent: string | null): TracePart {
  const { method, protocol: scheme, url, routeOptions } = request;
  const [path = ''] = url.split('?');
  const served = tracing.request({ method, scheme, path, route: routeOptions.url }, traceparent);
  // It comes once, however the request ends: answered, broken off, or at the end of a stream.
  reply.raw.once('close', () => served.end(reply.raw.headersSent ? reply.raw.statusCode : undefined));
  return served;
}

/** Runs what a request does, from its first hook on, in its span. */
export function useTracing(app: FastifyInstance, tracing: Tracing | undefined): void {
  app.decorateRequest('trace', null);
  if (!tracing) return;
  app.addHook('onRequest', ({ trace }, _reply, done) => (trace ? trace.run(done) : done()));
}
