import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Refusal } from '../errors.ts';
import type { Drain } from '../http/drain.ts';
import { problems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { HealthCheck } from './health.ts';
import { Health, Probe } from './schemas.ts';

const tags = ['bus'];

interface Dependencies {
  health: HealthCheck;
  drain: Drain;
}

/** Routes for probes: served in every role, also during a shutdown. */
export function healthRoutes({ health, drain }: Dependencies): FastifyPluginAsyncTypebox {
  const config = { whileDraining: true };
  return async app => {
    app.get(
      '/bus/health',
      {
        config,
        logLevel: 'warn',
        schema: {
          operationId: 'getHealth',
          summary: 'Check the health of the service: ok, degraded or down',
          tags,
          response: { 200: Ref(Health), ...problems(), 503: Ref(Health) },
        },
      },
      async (_request, reply) => {
        const answer = await health.check();
        return reply.code(answer.status === 'down' ? 503 : 200).send(answer);
      },
    );

    app.get(
      '/livez',
      {
        config,
        logLevel: 'warn',
        schema: {
          operationId: 'getLiveness',
          summary: 'Check that the process is up',
          tags,
          response: { 200: Ref(Probe), ...problems() },
        },
      },
      async () => ({ status: 'ok' as const }),
    );

    app.get(
      '/readyz',
      {
        config,
        logLevel: 'warn',
        schema: {
          operationId: 'getReadiness',
          summary: 'Check that the service can take traffic',
          tags,
          response: { 200: Ref(Probe), ...problems() },
        },
      },
      async () => {
        if (drain.draining) throw new Refusal('SERVICE_UNAVAILABLE', 'The service is shutting down.');
        const { status } = await health.check();
        if (status === 'down')
          throw new Refusal('SERVICE_UNAVAILABLE', 'The database is unavailable; GET /bus/health says why.');
        return { status: 'ok' as const };
      },
    );
  };
}
