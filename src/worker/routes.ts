import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { bodyProblems, problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { DeliveryService } from '../outbox/delivery-service.ts';
import type { Outbox } from '../outbox/service.ts';
import type { Handler } from './handler.ts';
import { PassResult, ProcessRequest, TopicParams, TopicState, Topics } from './schemas.ts';
import type { Worker } from './worker.ts';

interface Dependencies {
  handlers: readonly Handler[];
  worker: Worker;
  outbox: Outbox;
  deliveries: DeliveryService;
  writes: IdempotentWrites;
}

const tags = ['bus'];

/** Routes of topics (list, pause, resume) and of a claim-and-dispatch pass on demand. */
export function busRoutes(dependencies: Dependencies): FastifyPluginAsyncTypebox {
  const { handlers, worker, outbox, deliveries, writes } = dependencies;
  const { write } = writes;
  return async app => {
    app.get(
      '/bus/topics',
      {
        schema: {
          operationId: 'listTopics',
          summary: 'List handlers, topics without a handler and paused topics',
          tags,
          response: { 200: Ref(Topics), ...problemResponses() },
        },
      },
      async () => ({
        handlers: handlers.map(({ name, topics, transactional }) => ({
          handler: name,
          topics,
          transactional,
        })),
        topics_without_handler: await outbox.topicsWithoutHandler(),
        paused: await outbox.pausedTopics(),
      }),
    );

    app.post(
      '/bus/topics/:topic/pause',
      {
        schema: {
          operationId: 'pauseTopic',
          summary: 'Pause a topic in all processes, across restarts, until it is resumed',
          tags,
          params: TopicParams,
          headers: IdempotentHeaders,
          response: { 200: Ref(TopicState), ...writeProblems() },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { topic } = request.params;
          await outbox.pause(tx, topic);
          return { status: 200, body: { topic, paused: true } };
        }),
    );

    app.post(
      '/bus/topics/:topic/resume',
      {
        schema: {
          operationId: 'resumeTopic',
          summary: 'Resume a paused topic',
          tags,
          params: TopicParams,
          headers: IdempotentHeaders,
          response: { 200: Ref(TopicState), ...writeProblems() },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { topic } = request.params;
          await deliveries.resume(tx, topic);
          return { status: 200, body: { topic, paused: false } };
        }),
    );

    app.post(
      '/bus/process',
      {
        schema: {
          operationId: 'processMessages',
          summary: 'Run one claim-and-dispatch pass now',
          tags,
          body: Ref(ProcessRequest),
          response: { 200: Ref(PassResult), ...bodyProblems() },
        },
      },
      request => worker.pass(request.body.limit ?? 100),
    );
  };
}
