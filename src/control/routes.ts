import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { bodyProblems, problems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { ControlState, ControlStatePage, ControlThreadParams, ControlThreadQuery, NewAttempt } from './schemas.ts';
import type { Control } from './service.ts';

export function controlRoutes(control: Control): FastifyPluginAsyncTypebox {
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
          response: { 200: Ref(ControlStatePage), ...problems('INVALID_CURSOR') },
        },
      },
      request => control.list(request.query),
    );

    app.get(
      '/control-threads/:run_id/:agent_name',
      {
        schema: {
          operationId: 'getControlThread',
          summary: 'Read where an agent stands in its run',
          tags,
          params: ControlThreadParams,
          response: { 200: Ref(ControlState), ...problems('CONTROL_THREAD_NOT_FOUND') },
        },
      },
      request => control.get(request.params.run_id, request.params.agent_name),
    );

    app.post(
      '/control-threads/:run_id/:agent_name/attempts',
      {
        schema: {
          operationId: 'startAttempt',
          summary: "Start the agent's next attempt",
          tags,
          params: ControlThreadParams,
          body: Ref(NewAttempt),
          response: {
            201: Ref(ControlState),
            ...bodyProblems('CONTROL_THREAD_NOT_FOUND', 'THREAD_CLOSED'),
          },
        },
      },
      async (request, reply) => {
        const { run_id, agent_name } = request.params;
        const actor = request.body.actor ?? { type: 'operator', name: 'operator' };
        const state = await control.nextAttempt(run_id, agent_name, actor);
        const location = `/control-threads/${encodeURIComponent(run_id)}/${encodeURIComponent(agent_name)}`;
        return reply.code(201).header('location', location).send(state);
      },
    );
  };
}
