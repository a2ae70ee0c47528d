import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { ConditionalHeaders, ifMatch } from '../http/preconditions.ts';
import { bodyProblems, problems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { NewBrief, Run, RunClosing, RunParams, RunQuery, RunSummaryPage } from './schemas.ts';
import type { Runs } from './service.ts';

const operator = { type: 'operator', name: 'operator' } as const;

export function runRoutes(runs: Runs): FastifyPluginAsyncTypebox {
  const tags = ['runs'];
  return async app => {
    app.put(
      '/runs/:run_id',
      {
        schema: {
          operationId: 'fileBrief',
          summary: 'File what is planned for a run, in the place of what was filed before',
          tags,
          params: RunParams,
          headers: ConditionalHeaders,
          body: Ref(NewBrief),
          response: { 200: Ref(Run), 201: Ref(Run), ...bodyProblems('RUN_CLOSED', 'PRECONDITION_FAILED') },
        },
      },
      async ({ params, body, headers }, reply) => {
        const { actor = operator } = body;
        const { run, created } = await runs.brief(params.run_id, body, actor, ifMatch(headers));
        if (created) reply.code(201).header('location', `/runs/${encodeURIComponent(run.run_id)}`);
        return run;
      },
    );

    app.get(
      '/runs',
      {
        schema: {
          operationId: 'listRuns',
          summary: 'List runs, the newest first',
          tags,
          querystring: RunQuery,
          response: { 200: Ref(RunSummaryPage), ...problems('INVALID_CURSOR') },
        },
      },
      request => runs.list(request.query),
    );

    app.get(
      '/runs/:run_id',
      {
        schema: {
          operationId: 'getRun',
          summary: 'Read where a run stands, and whether it may be closed',
          tags,
          params: RunParams,
          response: { 200: Ref(Run), ...problems('RUN_NOT_FOUND') },
        },
      },
      request => runs.get(request.params.run_id),
    );

    app.post(
      '/runs/:run_id/close',
      {
        schema: {
          operationId: 'closeRun',
          summary: 'Close a run and its control threads, if nothing is in the way',
          tags,
          params: RunParams,
          headers: ConditionalHeaders,
          body: Ref(RunClosing),
          response: { 200: Ref(Run), ...bodyProblems('RUN_NOT_FOUND', 'GATE_BLOCKED', 'PRECONDITION_FAILED') },
        },
      },
      ({ params, body, headers }) => runs.close(params.run_id, body.actor ?? operator, ifMatch(headers)),
    );
  };
}
