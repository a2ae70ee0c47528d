import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Registry } from '@prometheus-io/client';
import { Type } from 'typebox';
import { problemResponses } from '../http/problems.ts';

const EXAMPLE = `# HELP forumbus_streams Open streams of GET /events/stream.
# TYPE forumbus_streams gauge
forumbus_streams 0
# EOF
`;

interface Dependencies {
  scrape: () => Promise<string>;
}

/** `GET /metrics` for Prometheus; served in every role, also during a shutdown. */
export function metricsRoutes({ scrape }: Dependencies): FastifyPluginAsyncTypebox {
  return async app => {
    app.get(
      '/metrics',
      {
        config: { whileDraining: true },
        logLevel: 'warn',
        schema: {
          operationId: 'getMetrics',
          summary: 'Read the metrics in the OpenMetrics text format',
          tags: ['bus'],
          response: {
            200: {
              description: 'The metrics.',
              content: { [Registry.OPENMETRICS_CONTENT_TYPE]: { schema: Type.String({ examples: [EXAMPLE] }) } },
            },
            ...problemResponses(),
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
