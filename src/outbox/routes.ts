import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import {
  ConsumerQuery,
  MessageDetail,
  MessagePage,
  MessageParams,
  MessageQuery,
  NewMessage,
  OutboxStats,
  Replay,
  Replayed,
} from './schemas.ts';
import { COMMAND_TOPICS, type Outbox } from './service.ts';

interface Dependencies {
  outbox: Outbox;
  writes: IdempotentWrites;
  /** Bytes. */
  maxPayload: number;
}

/** Routes to publish, list, replay and discard messages. */
export function outboxRoutes({ outbox, writes, maxPayload }: Dependencies): FastifyPluginAsyncTypebox {
  const { execute, send, write } = writes;
  const tags = ['outbox'];
  return async app => {
    app.post(
      '/outbox',
      {
        bodyLimit: maxPayload,
        schema: {
          operationId: 'publishMessage',
          summary: 'Publish a message',
          description:
            'Each subscription whose patterns match the topic gets a delivery, at least once and in order per `message_key`.',
          tags,
          headers: IdempotentHeaders,
          body: Ref(NewMessage),
          response: {
            200: Ref(MessageDetail),
            201: Ref(MessageDetail),
            ...writeProblems('MESSAGE_EXISTS', 'RESERVED_TOPIC'),
          },
        },
      },
      (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            if (request.body.topic.startsWith(COMMAND_TOPICS)) request.caller.assertAdmin('publish commands');
            const { message, created } = await outbox.publish(tx, request.body);
            const location = `/outbox/${encodeURIComponent(message.message_id)}`;
            return { status: created ? 201 : 200, body: message, headers: { location }, reference: message.message_id };
          },
          { rebuild: outbox.current, touches: ['deliveries'] },
        ),
    );

    app.get(
      '/outbox',
      {
        schema: {
          operationId: 'listMessages',
          summary: 'List deliveries of messages, oldest first',
          tags,
          querystring: MessageQuery,
          response: { 200: Ref(MessagePage), ...problemResponses('INVALID_CURSOR') },
        },
      },
      request => outbox.list(request.query),
    );

    app.get(
      '/outbox/stats',
      {
        schema: {
          operationId: 'getOutboxStats',
          summary: 'Count deliveries by status and topic',
          tags,
          response: { 200: Ref(OutboxStats), ...problemResponses() },
        },
      },
      () => outbox.stats(),
    );

    app.get(
      '/outbox/:message_id',
      {
        schema: {
          operationId: 'getMessage',
          summary: 'Read a message with its deliveries and their latest attempts',
          tags,
          params: MessageParams,
          response: { 200: Ref(MessageDetail), ...problemResponses('MESSAGE_NOT_FOUND') },
        },
      },
      request => outbox.get(request.params.message_id),
    );

    app.post(
      '/outbox/replay',
      {
        schema: {
          operationId: 'replayMessages',
          summary: 'Replay all dead messages, or those of one topic or subscription',
          tags,
          headers: IdempotentHeaders,
          body: Ref(Replay),
          response: { 200: Ref(Replayed), ...writeProblems() },
        },
      },
      async (request, reply) =>
        send(
          reply,
          await outbox.replayDead(request.body, work =>
            execute(request, reply, async tx => ({ status: 200, body: { replayed: await work(tx) } })),
          ),
        ),
    );

    app.post(
      '/outbox/:message_id/replay',
      {
        schema: {
          operationId: 'replayMessage',
          summary: 'Replay the dead deliveries of a message, or the one of a subscription',
          tags,
          params: MessageParams,
          headers: IdempotentHeaders,
          querystring: ConsumerQuery,
          response: { 200: Ref(MessageDetail), ...writeProblems('MESSAGE_NOT_FOUND', 'MESSAGE_STATUS_CONFLICT') },
        },
      },
      (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            const { message_id } = request.params;
            return {
              status: 200,
              body: await outbox.replay(tx, message_id, request.query.consumer),
              reference: message_id,
            };
          },
          { rebuild: outbox.current, touches: ['deliveries'] },
        ),
    );

    app.post(
      '/outbox/:message_id/discard',
      {
        schema: {
          operationId: 'discardMessage',
          summary: 'Discard the unfinished deliveries of a message, or the one of a subscription',
          description: 'What waits behind it under its `message_key` goes on.',
          tags,
          params: MessageParams,
          headers: IdempotentHeaders,
          querystring: ConsumerQuery,
          response: { 200: Ref(MessageDetail), ...writeProblems('MESSAGE_NOT_FOUND', 'MESSAGE_STATUS_CONFLICT') },
        },
      },
      (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            const { message_id } = request.params;
            return {
              status: 200,
              body: await outbox.discard(tx, message_id, request.query.consumer),
              reference: message_id,
            };
          },
          { rebuild: outbox.current, touches: ['deliveries'] },
        ),
    );
  };
}
