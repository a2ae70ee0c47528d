import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { IfNoneMatch, notModified } from '../http/etags.ts';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import {
  ControlState,
  ControlStatePage,
  ControlThreadParams,
  ControlThreadQuery,
  NewAttempt,
  Withdrawal,
} from './schemas.ts';
import type { Control } from './service.ts';

interface Dependencies {
  control: Control;
  writes: IdempotentWrites;
}

export function controlRoutes({ control, writes }: Dependencies): FastifyPluginAsyncTypebox {
  const { write } = writes;
  const tags = ['control threads'];
  return async app => {
    app.get(
      '/control-threads',
      {
        schema: {
          operationId: 'listControlThreads',
          summary: 'List the control states of agents, by run and agent',
          tags,
          querystring: ControlThreadQuery,
          response: { 200: Ref(ControlStatePage), ...problemResponses('INVALID_CURSOR') },
        },
      },
      request => control.list(request.caller.inRun(request.query)),
    );

    app.get(
      '/control-threads/:run_id/:agent_name',
      {
        schema: {
          operationId: 'getControlThread',
          summary: 'Read the control state of an agent',
          tags,
          params: ControlThreadParams,
          headers: IfNoneMatch,
          response: { 200: Ref(ControlState), ...notModified, ...problemResponses('CONTROL_THREAD_NOT_FOUND') },
        },
      },
      ({ params, caller }) => {
        caller.assertRun(params.run_id);
        return control.get(params.run_id, params.agent_name);
      },
    );

    app.post(
      '/control-threads/:run_id/:agent_name/attempts',
      {
        schema: {
          operationId: 'startAttempt',
          summary: "Start the agent's next attempt",
          description:
            'Signals of earlier attempts are refused from then on, and the gate asks for a completion and a validation of this one.',
          tags,
          params: ControlThreadParams,
          headers: IdempotentHeaders,
          body: Ref(NewAttempt),
          response: {
            201: Ref(ControlState),
            ...writeProblems('CONTROL_THREAD_NOT_FOUND', 'THREAD_CLOSED', 'RUN_CLOSED'),
          },
        },
      },
      (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            const { run_id, agent_name } = request.params;
            request.caller.assertRun(run_id);
            const actor = request.caller.actor(request.body.actor) ?? { type: 'operator', name: 'operator' };
            const body = await control.nextAttempt(tx, run_id, agent_name, actor);
            const location = `/control-threads/${encodeURIComponent(run_id)}/${encodeURIComponent(agent_name)}`;
            return { status: 201, body, headers: { location }, reference: body.thread_id };
          },
          {
            touches: [`run ${request.params.run_id}`],
            async rebuild(tx) {
              const { run_id, agent_name } = request.params;
              return control.view(tx, await control.required(tx, run_id, agent_name));
            },
          },
        ),
    );

    app.post(
      '/control-threads/:run_id/:agent_name/withdraw',
      {
        schema: {
          operationId: 'withdrawAgent',
          summary: 'Withdraw an agent from its run: its control thread closes and the gate no longer counts it',
          description: 'Its open questions are cancelled.',
          tags,
          params: ControlThreadParams,
          headers: IdempotentHeaders,
          body: Ref(Withdrawal),
          response: { 200: Ref(ControlState), ...writeProblems('CONTROL_THREAD_NOT_FOUND', 'RUN_CLOSED') },
        },
      },
      (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            const { run_id, agent_name } = request.params;
            request.caller.assertRun(run_id);
            const actor = request.caller.actor(request.body.actor) ?? { type: 'operator', name: 'operator' };
            return { status: 200, body: await control.withdraw(tx, run_id, agent_name, actor) };
          },
          { touches: [`run ${request.params.run_id}`] },
        ),
    );
  };
}
