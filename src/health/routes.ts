import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Refusal } from '../errors.ts';
import type { Drain } from '../http/drain.ts';
import { problemResponses } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { Checked, HealthCheck } from './health.ts';
import { publicReasons } from './reasons.ts';
import { Health, Probe, Version } from './schemas.ts';

const tags = ['bus'];

interface Dependencies {
  health: HealthCheck;
  drain: Drain;
  access: { authenticate(authorization: string | undefined): Promise<{ isOfRuns: boolean }> };
  opening: { readonly isOpen: boolean };
  /** Of the service. */
  version: string;
}

/** Routes for probes: served in every role, also during a shutdown. */
export function healthRoutes({ health, drain, access, opening, version }: Dependencies): FastifyPluginAsyncTypebox {
  const config = { whileDraining: true };

  /** Whether the header holds a valid token for all runs. Probes work without one, so another is no error. */
  async function isKnown(authorization: string | undefined): Promise<boolean> {
    return access.authenticate(authorization).then(
      ({ isOfRuns }) => !isOfRuns,
      () => false,
    );
  }

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
          response: { 200: Ref(Health), ...problemResponses(), 503: Ref(Health) },
        },
      },
      async ({ headers }, reply) => {
        const checked = await health.check();
        // A probe must not wait for the database, which may hang since the check: what was known last decides.
        const readable = checked.database === 'ok';
        const open = opening.isOpen;
        const known = open || (readable && (await isKnown(headers.authorization)));
        const answer: Health = { ...(known ? checked : withoutDetails(checked)), access: open ? 'open' : 'tokens' };
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
          response: { 200: Ref(Probe), ...problemResponses() },
        },
      },
      async () => ({ status: 'ok' as const }),
    );

    app.get(
      '/version',
      {
        config,
        logLevel: 'warn',
        schema: {
          operationId: 'getVersion',
          summary: 'Read the version of the service',
          tags,
          response: { 200: Ref(Version), ...problemResponses() },
        },
      },
      async () => ({ version, node: process.versions.node }),
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
          response: { 200: Ref(Probe), ...problemResponses() },
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

/** Health for everybody: without names of topics and texts of errors. */
function withoutDetails(checked: Checked): Checked {
  const worker = { ...checked.worker, last_error: null };
  return { ...checked, worker, reasons: publicReasons(checked.reasons), topics_without_handler: null };
}
