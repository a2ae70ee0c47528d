import { Readable } from 'node:stream';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import type { LongRequests } from '../access/long-requests.ts';
import type { Tx } from '../db/database.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { bodyProblems, problemResponses } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { RunParams } from '../runs/schemas.ts';
import type { Erasure } from './erasure.ts';
import type { RunExport } from './export.ts';
import { ErasureBegun, ErasureQuery } from './schemas.ts';

const EXAMPLE = '{"type":"run","format_version":1,"up_to":2,"run":{"run_id":"run-7"}}\n{"type":"end","lines":1}\n';

const operator = { type: 'operator', name: 'operator' } as const;

/** How long a repeated request goes on with the erasure, beside the job. Milliseconds. */
const ERASING_MS = 1000;

interface Dependencies {
  erasure: Erasure;
  exportRun: RunExport;
  longRequests: LongRequests;
  /** Aborted when the service stops. */
  ending: AbortSignal;
  writes: IdempotentWrites;
}

export function lifecycleRoutes({
  erasure,
  exportRun,
  longRequests,
  ending,
  writes,
}: Dependencies): FastifyPluginAsyncTypebox {
  const tags = ['runs'];
  return async app => {
    app.delete(
      '/runs/:run_id',
      {
        schema: {
          operationId: 'eraseRun',
          summary: 'Erase the texts of a closed run; repeat until 204 to know when all are gone',
          tags,
          params: RunParams,
          querystring: ErasureQuery,
          response: {
            202: Ref(ErasureBegun),
            204: Type.Null({ description: 'No text of the run is left.' }),
            ...bodyProblems('RUN_NOT_FOUND', 'RUN_OPEN', 'RUN_CHANGED'),
          },
        },
      },
      async (request, reply) => {
        const { run_id } = request.params;
        const actor = request.caller.actor(undefined) ?? operator;
        const { up_to } = request.query;
        const begin = (tx: Tx) => erasure.begin(tx, run_id, actor, 'request', up_to);
        const begun = await writes.perform(request, begin, { status: 202 });
        const isDone = !begun && (await erasure.advance(run_id, performance.now() + ERASING_MS));
        return isDone ? reply.code(204).send(null) : reply.code(202).send({ run_id, erased: false });
      },
    );

    app.get(
      '/runs/:run_id/export',
      {
        // Fastify answers HEAD by running the GET handler, which here reads all of the run.
        exposeHeadRoute: false,
        schema: {
          operationId: 'exportRun',
          summary: 'Export a run as lines of JSON; the last one has the type `end`',
          tags,
          params: RunParams,
          response: {
            200: {
              description: 'The run, its agents, threads, posts, questions and events, and `end`.',
              content: { 'application/x-ndjson': { schema: Type.String({ examples: [EXAMPLE] }) } },
            },
            ...problemResponses('RUN_NOT_FOUND', 'TOO_MANY_STREAMS'),
          },
        },
      },
      async (request, reply) => {
        const { run_id } = request.params;
        request.caller.assertRun(run_id);
        const signal = AbortSignal.any([longRequests.enter('stream', request, reply), ending]);
        const lines = exportRun(run_id, signal);
        // A refusal comes with the first line, before anything is sent.
        const first = await lines.next();
        reply.headers({ 'content-type': 'application/x-ndjson; charset=utf-8', 'cache-control': 'no-store' });
        void (reply as FastifyReply).send(Readable.from(continued(first, lines), { highWaterMark: 1 }));
        return reply;
      },
    );
  };
}

async function* continued(first: IteratorResult<string>, rest: AsyncGenerator<string>): AsyncGenerator<string> {
  if (!first.done) yield first.value;
  yield* rest;
}
