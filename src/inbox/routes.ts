import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Caller } from '../access/caller.ts';
import type { LongRequests } from '../access/long-requests.ts';
import { ControlThreadParams } from '../control/schemas.ts';
import type { AgentName } from '../control/service.ts';
import type { Sightings } from '../control/sightings.ts';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { Acknowledged, ClaimedItems, InboxAcknowledgement, InboxClaim, InboxItemPage, InboxQuery } from './schemas.ts';
import type { Inbox } from './service.ts';
import type { InboxWaiters } from './waiting.ts';

interface Dependencies {
  inbox: Inbox;
  inboxWaiters: InboxWaiters;
  sightings: Sightings;
  longRequests: LongRequests;
  writes: IdempotentWrites;
}

export function inboxRoutes(dependencies: Dependencies): FastifyPluginAsyncTypebox {
  const { inbox, inboxWaiters, sightings, longRequests, writes } = dependencies;
  const { write } = writes;
  const tags = ['inbox'];

  /** Checks that the caller may act for the agent; in an open service each caller counts as it. @throws Refusal FORBIDDEN */
  function enter(caller: Caller, agent: AgentName): void {
    caller.assertActsFor(agent.run_id, agent.agent_name);
    if (caller.isAgent || !caller.grant) sightings.note(agent);
  }

  return async app => {
    app.get(
      '/control-threads/:run_id/:agent_name/inbox',
      {
        schema: {
          operationId: 'listInbox',
          summary: "Read the agent's unacknowledged news, oldest first; with wait, as soon as an item is free",
          tags,
          params: ControlThreadParams,
          querystring: InboxQuery,
          response: { 200: Ref(InboxItemPage), ...problemResponses('INVALID_CURSOR', 'TOO_MANY_WAITS') },
        },
      },
      async (request, reply) => {
        const { params, query, caller } = request;
        enter(caller, params);
        const { wait = 0, ...page } = query;
        if (wait > 0) {
          await longRequests.wait(request, reply, signal =>
            inboxWaiters.wait(params, { timeoutMs: wait * 1000, signal }),
          );
        }
        return inbox.list(params, page);
      },
    );

    app.post(
      '/control-threads/:run_id/:agent_name/inbox/claim',
      {
        schema: {
          operationId: 'claimInbox',
          summary: 'Lease items that nobody holds, oldest first, so that no other claimant shows them',
          description: 'An item that is not acknowledged before its lease ends is free again.',
          tags,
          params: ControlThreadParams,
          headers: IdempotentHeaders,
          body: Ref(InboxClaim),
          response: { 200: Ref(ClaimedItems), ...writeProblems() },
        },
      },
      (request, reply) => {
        const { params, body, caller } = request;
        enter(caller, params);
        return write(
          request,
          reply,
          async tx => {
            const { items, sequences } = await inbox.claim(tx, params, body);
            return { status: 200, body: { items }, reference: JSON.stringify(sequences) };
          },
          {
            rebuild: async (tx, reference) => ({ items: await inbox.at(tx, params, JSON.parse(reference)) }),
            touches: [`run ${params.run_id}`],
          },
        );
      },
    );

    app.post(
      '/control-threads/:run_id/:agent_name/inbox/acknowledge',
      {
        schema: {
          operationId: 'acknowledgeInbox',
          summary: 'End items, and acknowledge their questions',
          tags,
          params: ControlThreadParams,
          headers: IdempotentHeaders,
          body: Ref(InboxAcknowledgement),
          response: { 200: Ref(Acknowledged), ...writeProblems() },
        },
      },
      (request, reply) => {
        const { params, body, caller } = request;
        enter(caller, params);
        return write(
          request,
          reply,
          async tx => {
            const actor = caller.actor(undefined, params.agent_name);
            return { status: 200, body: { acknowledged: await inbox.acknowledge(tx, params, body.item_ids, actor) } };
          },
          { touches: [`run ${params.run_id}`] },
        );
      },
    );
  };
}
