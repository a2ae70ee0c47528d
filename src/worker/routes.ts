import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Refusal } from '../errors.ts';
import type { HealthCheck } from '../health/health.ts';
import type { Drain } from '../http/drain.ts';
import { IdempotentHeaders, type Writing } from '../http/idempotent-writes.ts';
import { bodyProblems, problems, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { Deliveries } from '../outbox/delivery-service.ts';
import type { Outbox } from '../outbox/service.ts';
import type { HandlerRegistry } from './registry.ts';
import { Health, PassResult, Probe, ProcessRequest, TopicParams, TopicState, Topics } from './schemas.ts';
import type { Worker } from './worker.ts';

interface Dependencies {
  registry: HandlerRegistry;
  worker: Worker;
  outbox: Outbox;
  deliveries: Deliveries;
}

const tags = ['bus'];

export function busRoutes(
  { registry, worker, outbox, deliveries }: Dependencies,
  { write }: Writing,
): FastifyPluginAsyncTypebox {
  return async app => {
    app.get(
      '/bus/topics',
      {
        schema: {
          operationId: 'listTopics',
          summary: 'What is handled, and by what',
          tags,
          response: { 200: Ref(Topics), ...problems() },
        },
      },
      async () => ({
        handlers: registry.handlers.map(({ name, topics, transactional }) => ({
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
          summary: 'Hold a topic, on all processes and over restarts, until it is resumed',
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
          summary: 'Release a topic',
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

/** What probes ask; also served by a process that only works. */
export function healthRoutes(health: HealthCheck, drain: Drain): FastifyPluginAsyncTypebox {
  const config = { whileDraining: true };
  return async app => {
    app.get(
      '/bus/health',
      {
        config,
        logLevel: 'warn',
        schema: {
          operationId: 'getHealth',
          summary: 'How the service is: ok, degraded or down',
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
          summary: 'The process is up',
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
          summary: 'The service can take traffic',
          tags,
          response: { 200: Ref(Probe), ...problems() },
        },
      },
      async () => {
        if (drain.draining) throw new Refusal('SERVICE_UNAVAILABLE', 'The service is shutting down.');
        const { status } = await health.check();
        if (status === 'down') throw new Refusal('SERVICE_UNAVAILABLE', 'The database cannot be used just now.');
        return { status: 'ok' as const };
      },
    );
  };
}
