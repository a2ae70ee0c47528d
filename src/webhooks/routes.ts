import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { IfNoneMatch, notModified } from '../http/etags.ts';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { ConditionalHeaders, ifMatch } from '../http/preconditions.ts';
import { badHeader, bodyProblems, problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { OutboxMaintenance } from '../outbox/maintenance.ts';
import {
  NewWebhook,
  PingResult,
  PushKey,
  SecretRotation,
  Webhook,
  WebhookChange,
  WebhookDeleted,
  WebhookDeliveryPage,
  WebhookDeliveryQuery,
  WebhookPage,
  WebhookParams,
  WebhookQuery,
  WebhookReplay,
  WebhookReplayed,
  WebhookWithSecret,
} from './schemas.ts';
import type { WebhookService } from './service.ts';

interface Dependencies {
  webhooks: WebhookService;
  writes: IdempotentWrites;
  maintenance: Pick<OutboxMaintenance, 'discardOrphans'>;
}

const tags = ['webhooks'];

/** Routes of webhooks: manage, ping, replay, and what they got. */
export function webhookRoutes({ webhooks, writes, maintenance }: Dependencies): FastifyPluginAsyncTypebox {
  const { write } = writes;
  return async app => {
    app.post(
      '/webhooks',
      {
        schema: {
          operationId: 'createWebhook',
          summary: 'Create a webhook; takes no idempotency key, since its secret is shown only here',
          description: 'The service sends a signed request for each event that matches. The answer shows the secret.',
          tags,
          body: Ref(NewWebhook),
          response: { 201: Ref(WebhookWithSecret), ...bodyProblems('WEBHOOK_EXISTS', 'TOO_MANY_WEBHOOKS') },
        },
      },
      async (request, reply) => {
        assertNoKey(request.headers);
        reply.header('cache-control', 'no-store');
        return write(request, reply, async tx => {
          const body = await webhooks.create(tx, request.body);
          return { status: 201, body, headers: { location: `/webhooks/${body.name}` } };
        });
      },
    );

    app.get(
      '/webhooks',
      {
        schema: {
          operationId: 'listWebhooks',
          summary: 'List webhooks by name, without their secrets',
          tags,
          querystring: WebhookQuery,
          response: { 200: Ref(WebhookPage), ...problemResponses('INVALID_CURSOR') },
        },
      },
      request => webhooks.list(request.query),
    );

    app.get(
      '/push-key',
      {
        schema: {
          operationId: 'getPushKey',
          summary: 'Read the key with which a browser subscribes to push messages',
          tags,
          response: { 200: Ref(PushKey), ...problemResponses() },
        },
      },
      () => webhooks.pushKey(),
    );

    app.get(
      '/webhooks/:name',
      {
        schema: {
          operationId: 'getWebhook',
          summary: 'Read a webhook',
          tags,
          params: WebhookParams,
          headers: IfNoneMatch,
          response: { 200: Ref(Webhook), ...notModified, ...problemResponses('WEBHOOK_NOT_FOUND') },
        },
      },
      request => webhooks.get(request.params.name),
    );

    app.patch(
      '/webhooks/:name',
      {
        schema: {
          operationId: 'changeWebhook',
          summary: 'Change, disable or enable a webhook',
          tags,
          params: WebhookParams,
          headers: ConditionalHeaders,
          body: Ref(WebhookChange),
          response: { 200: Ref(Webhook), ...bodyProblems('WEBHOOK_NOT_FOUND', 'PRECONDITION_FAILED') },
        },
      },
      async (request, reply) => {
        const { params, body, headers } = request;
        // The job has not come yet if it was disabled just now.
        if (body.enabled) await maintenance.discardOrphans();
        return write(request, reply, async tx => ({
          status: 200,
          body: await webhooks.change(tx, params.name, body, ifMatch(headers)),
        }));
      },
    );

    app.delete(
      '/webhooks/:name',
      {
        schema: {
          operationId: 'deleteWebhook',
          summary: 'Delete a webhook, and discard what waits for it',
          tags,
          params: WebhookParams,
          headers: IdempotentHeaders,
          response: { 200: Ref(WebhookDeleted), ...writeProblems('WEBHOOK_NOT_FOUND') },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { name } = request.params;
          await webhooks.remove(tx, name);
          return { status: 200, body: { name, deleted: true } };
        }),
    );

    app.post(
      '/webhooks/:name/rotate-secret',
      {
        schema: {
          operationId: 'rotateWebhookSecret',
          summary: 'Give a webhook another secret; takes no idempotency key, since it is shown only here',
          tags,
          params: WebhookParams,
          body: Ref(SecretRotation),
          response: { 200: Ref(WebhookWithSecret), ...bodyProblems('WEBHOOK_NOT_FOUND') },
        },
      },
      async (request, reply) => {
        assertNoKey(request.headers);
        reply.header('cache-control', 'no-store');
        return write(request, reply, async tx => ({
          status: 200,
          body: await webhooks.rotate(tx, request.params.name, request.body),
        }));
      },
    );

    app.post(
      '/webhooks/:name/ping',
      {
        schema: {
          operationId: 'pingWebhook',
          summary: 'Send a ping, and answer what came of it',
          tags,
          params: WebhookParams,
          response: { 200: Ref(PingResult), ...bodyProblems('WEBHOOK_NOT_FOUND') },
        },
      },
      request => webhooks.ping(request.params.name, request.signal),
    );

    app.get(
      '/webhooks/:name/deliveries',
      {
        schema: {
          operationId: 'listWebhookDeliveries',
          summary: 'List what a webhook got, newest first, with the attempts',
          tags,
          params: WebhookParams,
          querystring: WebhookDeliveryQuery,
          response: { 200: Ref(WebhookDeliveryPage), ...problemResponses('WEBHOOK_NOT_FOUND', 'INVALID_CURSOR') },
        },
      },
      request => webhooks.deliveries(request.params.name, request.query),
    );

    app.post(
      '/webhooks/:name/replay',
      {
        schema: {
          operationId: 'replayWebhook',
          summary: 'Send a delivery, or events from a time on, to a webhook again',
          description: 'Give `delivery_id` for one delivery, or a time for all events since then.',
          tags,
          params: WebhookParams,
          headers: IdempotentHeaders,
          body: Ref(WebhookReplay),
          response: {
            200: Ref(WebhookReplayed),
            ...writeProblems('WEBHOOK_NOT_FOUND', 'WEBHOOK_DISABLED', 'DELIVERY_NOT_FOUND', 'MESSAGE_STATUS_CONFLICT'),
          },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => ({
          status: 200,
          body: await webhooks.replay(tx, request.params.name, request.body),
        })),
    );
  };
}

/** @throws Refusal VALIDATION_FAILED: the answer with its secret would be stored under the key */
function assertNoKey(headers: Record<string, unknown>): void {
  if (headers['idempotency-key'] === undefined) return;
  throw badHeader('idempotency-key', 'is not accepted here: the answer holds a secret');
}
