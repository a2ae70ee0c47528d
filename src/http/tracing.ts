import { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import { maskTokens } from '../logging.ts';
import { passThrough, readTraceparent, type TracePart, type Tracing, traceIdOf } from '../tracing.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The place of the request in a trace; null outside of any trace. */
    trace: TracePart | null;
  }
}

/**
 * Writes Fastify's log lines of requests. Each carries the trace id and, if the request has a token, its id. So the first
 * line waits until the caller is known.
 */
export class RequestLog extends LogController {
  readonly #tracing: Tracing | undefined;
  readonly #waiting = new WeakSet<FastifyRequest>();

  constructor(tracing: Tracing | undefined) {
    super({ requestIdLogLabel: 'request_id' });
    this.#tracing = tracing;
  }

  override incomingRequest(request: FastifyRequest, reply: FastifyReply): void {
    const { traceparent: header } = request.headers;
    const traceparent = header === undefined ? null : readTraceparent(String(header));
    if (this.#tracing) request.trace = beginPart(this.#tracing, request, reply, traceparent);
    else if (traceparent !== null) request.trace = passThrough(traceparent);
    if (request.trace?.traceparent) addToLog(request, reply, { trace_id: traceIdOf(request.trace.traceparent) });
    this.#waiting.add(request);
  }

  /** Writes the first line of a request, whose caller is known now. */
  readonly identified = (request: FastifyRequest, reply: FastifyReply): void => {
    const token_id = request.caller?.tokenId;
    if (token_id) addToLog(request, reply, { token_id });
    if (this.#waiting.delete(request)) super.incomingRequest(request, reply);
  };

  override requestCompleted(error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    // A request that was refused before it was looked at has no first line yet.
    if (this.#waiting.delete(request)) super.incomingRequest(request, reply);
    super.requestCompleted(error, request, reply);
  }
}

function addToLog(request: FastifyRequest, reply: FastifyReply, fields: object): void {
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
