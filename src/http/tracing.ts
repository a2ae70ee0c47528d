import { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import type { Database, Tx } from '../db/database.ts';
import type { WriteOptions } from '../db/group-commit.ts';
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

/** Writes as a part of the request's trace: what the write publishes is stored with it. */
export function writeInTrace<T>(
  db: Database,
  { trace }: FastifyRequest,
  work: (tx: Tx) => Promise<T>,
  options: WriteOptions,
): Promise<T> {
  if (!trace) return db.write(work, options);
  // Another request may have begun the transaction that they share; its context is not this one's.
  return db.write(tx => trace.run(() => work(tx)), { ...options, traceparent: trace.traceparent });
}
