import type { FastifyInstance } from 'fastify';
import { Refusal } from '../errors.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered while the service drains: probes want to be told. */
    whileDraining?: boolean;
  }
}

/** Whether the service still takes new work. */
export interface Drain {
  readonly draining: boolean;
}

/**
 * An orderly end of serving. From the first moment of `app.close()` new requests are refused with 503, those in flight
 * are answered, and connections are closed as they fall idle; after `graceMs` the rest is cut.
 */
export function useDrain(app: FastifyInstance, graceMs: number): Drain {
  const state = { draining: false };
  app.addHook('onRequest', async (request, reply) => {
    if (!state.draining) return;
    reply.header('connection', 'close');
    if (!request.routeOptions.config.whileDraining) {
      throw new Refusal('SERVICE_UNAVAILABLE', 'The service is shutting down; send the request again to the next one.');
    }
  });
  app.addHook('preClose', async () => {
    state.draining = true;
    // server.close() closes what is idle at that moment only; a keep-alive connection that falls idle later would hold
    // it until its timeout (fastify issue 7044).
    const sweep = setInterval(() => app.server.closeIdleConnections(), 20);
    const cut = setTimeout(() => app.server.closeAllConnections(), graceMs);
    app.server.once('close', () => {
      clearInterval(sweep);
      clearTimeout(cut);
    });
    sweep.unref();
    cut.unref();
  });
  return state;
}
