import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { type Clock, toTimestamp } from '../clock.ts';
import { decodeCursor, toPage } from '../db/cursors.ts';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import {
  type Subscription,
  SubscriptionDeleted,
  SubscriptionPage,
  SubscriptionParams,
  SubscriptionPosition,
  SubscriptionQuery,
  SubscriptionReplay,
} from './schemas.ts';
import type { SubscriptionService } from './service.ts';
import type { SubscriptionState } from './subscription.ts';

interface Dependencies {
  subscriptions: SubscriptionService;
  outbox: { subscriptions(): Promise<SubscriptionState[]> };
  clock: Clock;
  writes: IdempotentWrites;
}

const tags = ['bus'];

/** Routes to list, delete and replay subscriptions. */
export function subscriptionRoutes(dependencies: Dependencies): FastifyPluginAsyncTypebox {
  const { subscriptions, outbox, clock, writes } = dependencies;
  const { write } = writes;

  function view({ subscription, served_by, waiting, dead, oldest }: SubscriptionState): Subscription {
    const { name, kind, topics, dead_policy, position, last_seen_at } = subscription;
    const now = clock.now();
    return {
      name,
      kind,
      topics: [...topics],
      dead_policy,
      position,
      served_by,
      last_seen_at: toTimestamp(served_by.length > 0 ? now : last_seen_at),
      waiting,
      dead,
      lag_seconds: oldest === null ? null : Math.max(0, (now - oldest) / 1000),
    };
  }

  return async app => {
    app.get(
      '/bus/subscriptions',
      {
        schema: {
          operationId: 'listSubscriptions',
          summary: 'List subscriptions by name, with what waits for them',
          tags,
          querystring: SubscriptionQuery,
          response: { 200: Ref(SubscriptionPage), ...problemResponses('INVALID_CURSOR') },
        },
      },
      async ({ query: { limit = 50, cursor } }) => {
        const [after] = decodeCursor('subscriptions', cursor, ['']) ?? [];
        const rows = (await outbox.subscriptions())
          .filter(({ subscription }) => after === undefined || subscription.name > after)
          .toSorted((a, b) => (a.subscription.name < b.subscription.name ? -1 : 1));
        return toPage('subscriptions', rows, limit, ({ subscription }) => [subscription.name], view);
      },
    );

    app.delete(
      '/bus/subscriptions/:name',
      {
        schema: {
          operationId: 'deleteSubscription',
          summary: 'Delete a subscription that no process serves, and discard what waits for it',
          description: 'A subscription of a webhook ends with its webhook.',
          tags,
          params: SubscriptionParams,
          headers: IdempotentHeaders,
          response: {
            200: Ref(SubscriptionDeleted),
            ...writeProblems('SUBSCRIPTION_NOT_FOUND', 'SUBSCRIPTION_SERVED'),
          },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { name } = request.params;
          await subscriptions.remove(tx, name);
          return { status: 200, body: { name, deleted: true } };
        }),
    );

    app.post(
      '/bus/subscriptions/:name/replay',
      {
        schema: {
          operationId: 'replaySubscription',
          summary: 'Deliver the events after a sequence to a subscription again',
          tags,
          params: SubscriptionParams,
          headers: IdempotentHeaders,
          body: Ref(SubscriptionReplay),
          response: { 200: Ref(SubscriptionPosition), ...writeProblems('SUBSCRIPTION_NOT_FOUND') },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { name } = request.params;
          const position = await subscriptions.replay(tx, name, request.body.after);
          return { status: 200, body: { name, position } };
        }),
    );
  };
}
