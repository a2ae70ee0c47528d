import { Readable } from 'node:stream';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import type { LongRequests } from '../access/long-requests.ts';
import { badHeader, problemResponses } from '../http/problems.ts';
import type { EventFeed } from './feed.ts';
import { StreamHeaders, StreamQuery } from './schemas.ts';
import type { EventLog } from './service.ts';
import { eventStream, type StreamGauge } from './stream.ts';

interface Dependencies {
  feed: EventFeed;
  events: EventLog;
  longRequests: LongRequests;
  /** Aborted when the service stops. */
  ending: AbortSignal;
  readers: StreamGauge;
}

/** Proxies pass on each event as it comes: no-transform forbids to compress it, and nginx takes X-Accel-Buffering. */
const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};

const EXAMPLE =
  'id: 2\nevent: forum.control.signal\ndata: {"event_id":"evt_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a","sequence":2}\n\n';

export function eventStreamRoutes({
  feed,
  events,
  longRequests,
  ending,
  readers,
}: Dependencies): FastifyPluginAsyncTypebox {
  return async app => {
    app.get(
      '/events/stream',
      {
        // Fastify answers HEAD by running the GET handler, which here never ends.
        exposeHeadRoute: false,
        schema: {
          operationId: 'streamEvents',
          summary: 'Stream the event log from a sequence on, as server-sent events with the sequence as id',
          description:
            'It begins after `after` or `Last-Event-ID`, sends every event once and in order, and does not end.',
          tags: ['events'],
          querystring: StreamQuery,
          headers: StreamHeaders,
          response: {
            200: {
              description: 'The event stream.',
              content: { 'text/event-stream': { schema: Type.String({ examples: [EXAMPLE] }) } },
            },
            ...problemResponses('TOO_MANY_STREAMS'),
          },
        },
      },
      async (request, reply) => {
        const { after = 0, ...filter } = request.caller.inRun(request.query);
        const from = lastEventId(request.headers['last-event-id']) ?? after;
        const signal = AbortSignal.any([longRequests.enter('stream', request, reply), ending]);
        const frames = eventStream({ feed, events, readers, filter, after: from, signal });
        reply.headers(STREAM_HEADERS);
        void (reply as FastifyReply).send(Readable.from(frames, { highWaterMark: 1 }));
        return reply;
      },
    );
  };
}

/** @throws Refusal VALIDATION_FAILED if the header is not a sequence */
function lastEventId(header: string | undefined): number | undefined {
  if (header === undefined || header === '') return undefined;
  if (/^\d{1,15}$/.test(header)) return Number(header);
  throw badHeader('last-event-id', 'must be a sequence');
}
