import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { LongRequests } from '../access/long-requests.ts';
import { IfNoneMatch, notModified } from '../http/etags.ts';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { ConditionalHeaders, ifMatch } from '../http/preconditions.ts';
import { actProblems, problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { sendShared } from '../http/serialization.ts';
import { NewBrief, Run, RunClosing, RunParams, RunQuery, RunSummaryPage, WaitingRunQuery } from './schemas.ts';
import type { RunService } from './service.ts';
import type { RunWaiters } from './waiting.ts';

const operator = { type: 'operator', name: 'operator' } as const;

interface Dependencies {
  runs: RunService;
  runWaiters: RunWaiters;
  longRequests: LongRequests;
  writes: IdempotentWrites;
}

export function runRoutes({ runs, runWaiters, longRequests, writes }: Dependencies): FastifyPluginAsyncTypebox {
  const { write } = writes;
  const tags = ['runs'];
  return async app => {
    app.put(
      '/runs/:run_id',
      {
        schema: {
          operationId: 'fileBrief',
          summary: 'File the brief of a run; a new brief replaces the old one',
          description: 'The brief names the agents and the criteria that the gate of the run asks for.',
          tags,
          params: RunParams,
          headers: ConditionalHeaders,
          body: Ref(NewBrief),
          response: { 200: Ref(Run), 201: Ref(Run), ...actProblems('RUN_CLOSED', 'RUN_ERASED', 'PRECONDITION_FAILED') },
        },
      },
      (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            const { params, body, headers, caller } = request;
            caller.assertRun(params.run_id);
            const actor = caller.actor(body.actor) ?? operator;
            const { run, created } = await runs.brief(tx, params.run_id, body, actor, ifMatch(headers));
            if (!created) return { status: 200, body: run };
            return { status: 201, body: run, headers: { location: `/runs/${encodeURIComponent(run.run_id)}` } };
          },
          { touches: [`run ${request.params.run_id}`] },
        ),
    );

    app.get(
      '/runs',
      {
        schema: {
          operationId: 'listRuns',
          summary: 'List runs, newest first; those of a token for several runs by name',
          tags,
          querystring: RunQuery,
          response: { 200: Ref(RunSummaryPage), ...problemResponses('INVALID_CURSOR') },
        },
      },
      ({ query, caller }) => runs.list(query, caller.isOfRuns ? (caller.grant?.runs ?? undefined) : undefined),
    );

    app.get(
      '/runs/:run_id',
      {
        schema: {
          operationId: 'getRun',
          summary: 'Read a run and its gate; `wait` delays the answer until the gate is ready or the run has changed',
          tags,
          params: RunParams,
          querystring: WaitingRunQuery,
          headers: IfNoneMatch,
          response: { 200: Ref(Run), ...notModified, ...problemResponses('RUN_NOT_FOUND', 'TOO_MANY_WAITS') },
        },
      },
      async (request, reply) => {
        const { run_id } = request.params;
        request.caller.assertRun(run_id);
        const { wait = 0, after_version } = request.query;
        if (wait === 0) return runs.get(run_id);
        const run = await longRequests.wait(request, reply, signal =>
          runWaiters.wait(run_id, {
            // Without `after_version` the wait is for the gate.
            isNews: ({ version, gate }) => (after_version === undefined ? gate.ready : version > after_version),
            timeoutMs: wait * 1000,
            signal,
          }),
        );
        return sendShared(reply, run);
      },
    );

    app.post(
      '/runs/:run_id/close',
      {
        schema: {
          operationId: 'closeRun',
          summary: 'Close a run and its control threads if the gate is ready',
          description: 'Refused while the gate has reasons, which the problem document lists.',
          tags,
          params: RunParams,
          headers: Type.Object({ ...ConditionalHeaders.properties, ...IdempotentHeaders.properties }),
          body: Ref(RunClosing),
          response: { 200: Ref(Run), ...writeProblems('RUN_NOT_FOUND', 'GATE_BLOCKED', 'PRECONDITION_FAILED') },
        },
      },
      (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            const { params, body, headers, caller } = request;
            caller.assertRun(params.run_id);
            const actor = caller.actor(body.actor) ?? operator;
            const run = await runs.close(tx, params.run_id, actor, ifMatch(headers));
            return { status: 200, body: run, reference: params.run_id };
          },
          { rebuild: runs.current, touches: [`run ${request.params.run_id}`] },
        ),
    );
  };
}
