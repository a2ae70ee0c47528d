import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { problemResponses } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { EventPage, EventQuery } from './schemas.ts';
import type { EventLog } from './service.ts';

interface Dependencies {
  events: EventLog;
}

export function eventRoutes({ events }: Dependencies): FastifyPluginAsyncTypebox {
  return async app => {
    app.get(
      '/events',
      {
        schema: {
          operationId: 'listEvents',
          summary: 'Read the event log, oldest first or newest first',
          description: 'Every event of the log has a place in it, its `sequence`, without gaps.',
          tags: ['events'],
          querystring: EventQuery,
          response: { 200: Ref(EventPage), ...problemResponses('INVALID_CURSOR') },
        },
      },
      request => events.list(request.caller.inRun(request.query)),
    );
  };
}
