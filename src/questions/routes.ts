import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { whileConnected } from '../http/connection.ts';
import { IfNoneMatch, notModified } from '../http/etags.ts';
import { ConditionalHeaders, ifMatch } from '../http/preconditions.ts';
import { bodyProblems, problems, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { IdempotentHeaders, type Writing } from '../http/writing.ts';
import type { Signals } from '../signals/service.ts';
import {
  Acknowledgement,
  Answer,
  Cancellation,
  Question,
  QuestionPage,
  QuestionParams,
  QuestionQuery,
  WaitingQuestionQuery,
} from './schemas.ts';
import type { Questions } from './service.ts';
import type { QuestionWaiters } from './waiting.ts';

interface Dependencies {
  questions: Questions;
  signals: Signals;
  waiters: QuestionWaiters;
  writing: Writing;
}

export function questionRoutes(dependencies: Dependencies): FastifyPluginAsyncTypebox {
  const { questions, signals, waiters, writing } = dependencies;
  const { write } = writing;
  const tags = ['questions'];
  return async app => {
    app.get(
      '/questions',
      {
        schema: {
          operationId: 'listQuestions',
          summary: "The operator's inbox: most urgent first, then oldest first",
          tags,
          querystring: QuestionQuery,
          response: { 200: Ref(QuestionPage), ...problems('INVALID_CURSOR') },
        },
      },
      request => questions.list(request.query),
    );

    app.get(
      '/questions/:question_id',
      {
        schema: {
          operationId: 'getQuestion',
          summary: 'Read a question; with wait, as soon as it has changed',
          tags,
          params: QuestionParams,
          querystring: WaitingQuestionQuery,
          headers: IfNoneMatch,
          response: { 200: Ref(Question), ...notModified, ...problems('QUESTION_NOT_FOUND') },
        },
      },
      ({ params, query }, reply) => {
        // An open question has version 1, so who names no version waits for its end.
        const { wait = 0, after_version = 1 } = query;
        if (wait === 0) return questions.get(params.question_id);
        return waiters.wait(params.question_id, {
          isNews: ({ version }) => version > after_version,
          timeoutMs: wait * 1000,
          signal: whileConnected(reply),
        });
      },
    );

    app.put(
      '/questions/:question_id/answer',
      {
        schema: {
          operationId: 'answerQuestion',
          summary: 'Answer a question, as a guidance_answer that names it would',
          tags,
          params: QuestionParams,
          headers: ConditionalHeaders,
          body: Ref(Answer),
          response: {
            200: Ref(Question),
            ...bodyProblems(
              'QUESTION_NOT_FOUND',
              'ALREADY_ANSWERED',
              'QUESTION_CLOSED',
              'THREAD_CLOSED',
              'PRECONDITION_FAILED',
              'INVALID_SELECTION',
            ),
          },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { params, body: given, headers } = request;
          const body = await signals.answer(tx, params.question_id, given, ifMatch(headers));
          return { status: 200, body };
        }),
    );

    app.post(
      '/questions/:question_id/cancel',
      {
        schema: {
          operationId: 'cancelQuestion',
          summary: 'Withdraw an open question',
          tags,
          params: QuestionParams,
          headers: IdempotentHeaders,
          body: Ref(Cancellation),
          response: {
            200: Ref(Question),
            ...writeProblems('QUESTION_NOT_FOUND', 'ALREADY_ANSWERED', 'QUESTION_CLOSED', 'THREAD_CLOSED'),
          },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const actor = request.body.actor ?? { type: 'operator', name: 'operator' };
          return { status: 200, body: await questions.cancel(tx, request.params.question_id, actor) };
        }),
    );

    app.post(
      '/questions/:question_id/acknowledge',
      {
        schema: {
          operationId: 'acknowledgeQuestion',
          summary: 'Say, as the asking agent, that what became of the question has arrived',
          tags,
          params: QuestionParams,
          headers: IdempotentHeaders,
          body: Ref(Acknowledgement),
          response: { 200: Ref(Question), ...writeProblems('QUESTION_NOT_FOUND', 'QUESTION_OPEN') },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const body = await questions.acknowledge(tx, request.params.question_id, request.body.actor);
          return { status: 200, body };
        }),
    );
  };
}
