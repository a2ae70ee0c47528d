import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { bodyProblems, problems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import {
  Message,
  MessageDetail,
  MessagePage,
  MessageParams,
  MessageQuery,
  NewMessage,
  OutboxStats,
  Replay,
  Replayed,
} from './schemas.ts';
import type { Outbox } from './service.ts';

export function outboxRoutes(outbox: Outbox): FastifyPluginAsyncTypebox {
  const tags = ['outbox'];
  return async app => {
    app.post(
      '/outbox',
      {
        schema: {
          operationId: 'publishMessage',
          summary: 'Publish a message',
          tags,
          body: Ref(NewMessage),
          response: {
            200: Ref(Message),
            201: Ref(Message),
            ...bodyProblems('MESSAGE_EXISTS', 'RESERVED_TOPIC'),
          },
        },
      },
      async (request, reply) => {
        const { message, created } = await outbox.publish(request.body);
        reply.header('location', `/outbox/${encodeURIComponent(message.message_id)}`);
        return reply.code(created ? 201 : 200).send(message);
      },
    );

    app.get(
      '/outbox',
      {
        schema: {
          operationId: 'listMessages',
          summary: 'List messages, oldest first',
          tags,
          querystring: MessageQuery,
          response: { 200: Ref(MessagePage), ...problems('INVALID_CURSOR') },
        },
      },
      request => outbox.list(request.query),
    );

    app.get(
      '/outbox/stats',
      {
        schema: {
          operationId: 'getOutboxStats',
          summary: 'Count messages by status and topic',
          tags,
          response: { 200: Ref(OutboxStats), ...problems() },
        },
      },
      () => outbox.stats(),
    );

    app.get(
      '/outbox/:message_id',
      {
        schema: {
          operationId: 'getMessage',
          summary: 'Read a message with its latest attempts',
          tags,
          params: MessageParams,
          response: { 200: Ref(MessageDetail), ...problems('MESSAGE_NOT_FOUND') },
        },
      },
      request => outbox.get(request.params.message_id),
    );

    app.post(
      '/outbox/replay',
      {
        schema: {
          operationId: 'replayMessages',
          summary: 'Send all dead messages, or those of one topic, through their handlers again',
          tags,
          body: Ref(Replay),
          response: { 200: Ref(Replayed), ...bodyProblems() },
        },
      },
      async request => ({ replayed: await outbox.replayDead(request.body.topic) }),
    );

    app.post(
      '/outbox/:message_id/replay',
      {
        schema: {
          operationId: 'replayMessage',
          summary: 'Send a dead message through its handler again',
          tags,
          params: MessageParams,
          response: { 200: Ref(Message), ...problems('MESSAGE_NOT_FOUND', 'MESSAGE_STATUS_CONFLICT') },
        },
      },
      request => outbox.replay(request.params.message_id),
    );

    app.post(
      '/outbox/:message_id/discard',
      {
        schema: {
          operationId: 'discardMessage',
          summary: 'Drop a message that is not being handled',
          tags,
          params: MessageParams,
          response: { 200: Ref(Message), ...problems('MESSAGE_NOT_FOUND', 'MESSAGE_STATUS_CONFLICT') },
        },
      },
      request => outbox.discard(request.params.message_id),
    );
  };
}
