import type { FastifyInstance } from 'fastify';
import { Refusal } from '../errors.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered even while the service drains: probes report the drain. */
    whileDraining?: boolean;
  }
}

/** The state of the shutdown. */
export interface Drain {
  /** Whether new requests are refused. */
  readonly draining: boolean;
}

/**
 * Graceful shutdown of HTTP. As soon as `app.close()` is called, new requests are refused with 503 and running ones are
 * answered. Connections are closed as they become idle. After `graceMs` the remaining connections are cut.
 */
export function useDrain(app: FastifyInstance, graceMs: number): Drain {
  const state = { draining: false };
  app.addHook('onRequest', async (request, reply) => {
    if (!state.draining) return;
    reply.header('connection', 'close');
    if (!request.routeOptions.config.whileDraining) {
      throw new Refusal(
        'SERVICE_UNAVAILABLE',
        'The service is shutting down; retry on another instance or after its restart.',
      );
    }
  });
  app.addHook('preClose', async () => {
    state.draining = true;
    // server.close() closes only connections that are idle at that moment. A keep-alive connection that becomes idle
    // later would delay it until the keep-alive timeout (fastify issue 7044).
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
