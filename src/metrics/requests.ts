import type { FastifyInstance, onResponseHookHandler, RouteOptions } from 'fastify';
import type { Instruments } from './instruments.ts';

/** Values of the label `method`; any other method is `other`. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** Counts and times every request by the `operationId` of its route; `none` without a route or without an id. */
export function useRequestMetrics(app: FastifyInstance, instruments: Instruments): void {
  const { requests, requestDuration } = instruments;

  /** A hook for one operation, which caches its counters. */
  function responseHook(operation: string): onResponseHookHandler {
    const duration = requestDuration.labels(operation);
    const byMethod = new Map<string, { inc(): void }[]>();
    return (request, reply, done) => {
      const method = METHODS.includes(request.method) ? request.method : 'other';
      const byClass = byMethod.get(method) ?? [];
      byMethod.set(method, byClass);
      const hundreds = Math.trunc(reply.statusCode / 100);
      byClass[hundreds] ??= requests.labels(operation, method, `${hundreds}xx`);
      byClass[hundreds].inc();
      duration.observe(reply.elapsedTime / 1000);
      done();
    };
  }

  const unknown = responseHook('none');
  app.addHook('onRoute', route => {
    const hooks = [route.onResponse ?? []].flat();
    route.onResponse = [...hooks, responseHook(operationOf(route))];
  });
  app.addHook('onResponse', (request, reply, done) => {
    if (request.is404) unknown.call(app, request, reply, done);
    else done();
  });
}

function operationOf({ schema }: RouteOptions): string {
  return (schema as { operationId?: string } | undefined)?.operationId ?? 'none';
}
