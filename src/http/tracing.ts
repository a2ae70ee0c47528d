import { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import { passThrough, readTraceparent, type TracePart, type Tracing, traceIdOf } from '../tracing.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The place of the request in a trace; null outside of any trace. */
    trace: TracePart | null;
  }
}

/**
 * Writes Fastify's log lines of requests. The first line also begins the request's trace part, so that every line carries
 * the trace id.
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
    if (this.#tracing) request.trace = beginPart(this.#tracing, request, reply, traceparent);
    else if (traceparent !== null) request.trace = passThrough(traceparent);
    if (request.trace?.traceparent) {
      request.log = request.log.child({ trace_id: traceIdOf(request.trace.traceparent) });
      reply.log = request.log;
    }
    super.incomingRequest(request, reply);
  }
}

function beginPart(
  tracing: Tracing,
  request: FastifyRequest,
  reply: FastifyReply,
  traceparent: string | null,
): TracePart {
  const { method, protocol: scheme, url, routeOptions } = request;
  const [path = ''] = url.split('?');
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
