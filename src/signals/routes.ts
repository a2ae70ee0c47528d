import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifySchemaCompiler } from 'fastify';
import { type TSchema, Type } from 'typebox';
import type { LongRequests } from '../access/long-requests.ts';
import type { Tx } from '../db/database.ts';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { QuestionWaiters } from '../questions/waiting.ts';
import type { VersionList } from './command.ts';
import { SendQuery, Signal, SignalParams, SignalResult } from './schemas.ts';
import { type SignalService, signalNotFound } from './service.ts';

interface Dependencies {
  signals: SignalService;
  questionWaiters: QuestionWaiters;
  longRequests: LongRequests;
  writes: IdempotentWrites;
}

export function signalRoutes(dependencies: Dependencies): FastifyPluginAsyncTypebox {
  const { signals, questionWaiters, longRequests, writes } = dependencies;
  const { execute, revise, send } = writes;
  const tags = ['control signals'];
  return async app => {
    app.post(
      '/control-signals',
      {
        // Before validation: a signal of another version must not be judged by the rules of this one.
        preValidation: async request => void signals.versionOf(request.body),
        validatorCompiler: part => {
          const compile = app.validatorCompiler as NonNullable<typeof app.validatorCompiler>;
          return part.httpPart === 'body' ? validator(signals, schema => compile({ ...part, schema })) : compile(part);
        },
        schema: {
          operationId: 'sendControlSignal',
          summary: 'Send a control signal',
          description:
            'The signal, its events, its post and its question are stored together or not at all. The first answer to a question wins; the same answer again is answered 200. `wait` holds a request for guidance until it is answered.',
          tags,
          querystring: SendQuery,
          headers: IdempotentHeaders,
          body: bodySchema(signals.versions),
          response: {
            200: Ref(SignalResult),
            201: Ref(SignalResult),
            ...writeProblems(
              'SELF_VALIDATION',
              'QUESTION_NOT_FOUND',
              'THREAD_CLOSED',
              'STALE_ATTEMPT',
              'NO_OPEN_QUESTION',
              'RUN_CLOSED',
              'AMBIGUOUS_ANSWER',
              'TOO_MANY_OPEN_QUESTIONS',
              'ALREADY_ANSWERED',
              'QUESTION_CLOSED',
              'UNSUPPORTED_SCHEMA_VERSION',
              'QUESTION_MISMATCH',
              'INVALID_SELECTION',
            ),
          },
        },
      },
      async (request, reply) => {
        const { body } = request;
        const command = signals.commandOf(body, request.caller);
        const act = async (tx: Tx) => {
          const { created, ...body } = await signals.accept(tx, command);
          return response(created ? 201 : 200, body);
        };
        const executed = await execute(request, reply, act, signals.touches(command), signals.result);
        const { wait = 0 } = request.query;
        if (wait === 0) return send(reply, executed);
        // A repeated request waits, too: for the question of the first one.
        const result: SignalResult = JSON.parse(executed.answer.body);
        if (result.question?.state !== 'open') return send(reply, executed);
        try {
          const { question_id } = result.question;
          const { state } = await longRequests.wait(request, reply, signal =>
            questionWaiters.wait(question_id, {
              isNews: question => question.state !== 'open',
              timeoutMs: wait * 1000,
              signal,
            }),
          );
          if (state === 'open') return send(reply, executed);
          const news = response(201, await signals.refreshed(result));
          return send(reply, { ...executed, answer: await revise(request, reply, executed.answer, news) });
        } catch (error) {
          // The signal is stored. An error now would make the agent repeat it.
          request.log.warn({ err: error }, 'the wait for an answer ended early');
          return send(reply, executed);
        }
      },
    );

    app.get(
      '/control-signals/:signal_id',
      {
        schema: {
          operationId: 'getControlSignal',
          summary: 'Read a stored control signal',
          tags,
          params: SignalParams,
          response: { 200: Ref(Signal), ...problemResponses('SIGNAL_NOT_FOUND') },
        },
      },
      async request => {
        const signal = await signals.get(request.params.signal_id);
        if (!request.caller.sees(signal.run_id)) throw signalNotFound(signal.signal_id);
        return signal;
      },
    );
  };
}

/** A body of any version. */
function bodySchema([first, ...others]: VersionList): TSchema {
  return others.length === 0
    ? first.schema
    : Type.Unsafe<unknown>({ oneOf: [first, ...others].map(({ schema }) => schema) });
}

type Validate = ReturnType<FastifySchemaCompiler<unknown>>;

/** Validates each body by its own version, so that errors never speak of another one. */
function validator({ versions, versionOf }: SignalService, compile: (schema: TSchema) => Validate): Validate {
  const compiled = new Map(versions.map(version => [version, compile(version.schema)]));
  const validate: Validate = body => {
    const own = compiled.get(versionOf(body)) as Validate;
    const result = own(body);
    validate.errors = own.errors ?? null;
    return result;
  };
  return validate;
}

function response(status: number, body: SignalResult) {
  const { signal_id } = body.signal;
  return { status, body, headers: { location: `/control-signals/${signal_id}` }, reference: signal_id };
}
