import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Registry } from 'prom-client';
import { Type } from 'typebox';
import { problems } from '../http/problems.ts';

const EXAMPLE = `# HELP forumbus_streams Readers of GET /events/stream.
# TYPE forumbus_streams gauge
forumbus_streams 0
# EOF
`;

/** What Prometheus and its like ask; served in every role, and until the process ends. */
interface Dependencies {
  scrape: () => Promise<string>;
}

export function metricsRoutes({ scrape }: Dependencies): FastifyPluginAsyncTypebox {
  return async app => {
    app.get(
      '/metrics',
      {
        config: { whileDraining: true },
        logLevel: 'warn',
        schema: {
          operationId: 'getMetrics',
          summary: 'Metrics, in the OpenMetrics text format',
          tags: ['bus'],
          response: {
            200: {
              description: 'The metrics.',
              content: { [Registry.OPENMETRICS_CONTENT_TYPE]: { schema: Type.String({ examples: [EXAMPLE] }) } },
            },
            ...problems(),
          },
        },
      },
      async (_request, reply) => {
        const text = await scrape();
        reply.header('content-type', Registry.OPENMETRICS_CONTENT_TYPE).header('cache-control', 'no-store');
        return reply.send(text);
      },
    );
  };
}
