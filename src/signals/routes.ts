import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { bodyProblems, problems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { ControlSignalV1, Signal, SignalParams, SignalResult } from './schemas.ts';
import type { Signals } from './service.ts';
import { assertSupportedVersion } from './signal.ts';

export function signalRoutes(signals: Signals): FastifyPluginAsyncTypebox {
  const tags = ['control signals'];
  return async app => {
    app.post(
      '/control-signals',
      {
        preValidation: async request => assertSupportedVersion(request.body),
        schema: {
          operationId: 'sendControlSignal',
          summary: 'Send a control signal',
          tags,
          body: Ref(ControlSignalV1),
          response: {
            200: Ref(SignalResult),
            201: Ref(SignalResult),
            ...bodyProblems(
              'QUESTION_NOT_FOUND',
              'THREAD_CLOSED',
              'STALE_ATTEMPT',
              'NO_OPEN_QUESTION',
              'AMBIGUOUS_ANSWER',
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
        const { created, ...result } = await signals.append(request.body);
        reply.header('location', `/control-signals/${result.signal.signal_id}`);
        return reply.code(created ? 201 : 200).send(result);
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
          response: { 200: Ref(Signal), ...problems('SIGNAL_NOT_FOUND') },
        },
      },
      request => signals.get(request.params.signal_id),
    );
  };
}
