import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { bodyProblems, problems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { Signals } from '../signals/service.ts';
import { Answer, Cancellation, Question, QuestionPage, QuestionParams, QuestionQuery } from './schemas.ts';
import type { Questions } from './service.ts';

export function questionRoutes(questions: Questions, signals: Signals): FastifyPluginAsyncTypebox {
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
          summary: 'Read a question',
          tags,
          params: QuestionParams,
          response: { 200: Ref(Question), ...problems('QUESTION_NOT_FOUND') },
        },
      },
      request => questions.get(request.params.question_id),
    );

    app.put(
      '/questions/:question_id/answer',
      {
        schema: {
          operationId: 'answerQuestion',
          summary: 'Answer a question, as a guidance_answer that names it would',
          tags,
          params: QuestionParams,
          body: Ref(Answer),
          response: {
            200: Ref(Question),
            ...bodyProblems(
              'QUESTION_NOT_FOUND',
              'ALREADY_ANSWERED',
              'QUESTION_CLOSED',
              'THREAD_CLOSED',
              'INVALID_SELECTION',
            ),
          },
        },
      },
      request => signals.answer(request.params.question_id, request.body),
    );

    app.post(
      '/questions/:question_id/cancel',
      {
        schema: {
          operationId: 'cancelQuestion',
          summary: 'Withdraw an open question',
          tags,
          params: QuestionParams,
          body: Ref(Cancellation),
          response: {
            200: Ref(Question),
            ...bodyProblems('QUESTION_NOT_FOUND', 'ALREADY_ANSWERED', 'QUESTION_CLOSED', 'THREAD_CLOSED'),
          },
        },
      },
      request =>
        questions.cancel(request.params.question_id, request.body.actor ?? { type: 'operator', name: 'operator' }),
    );
  };
}
