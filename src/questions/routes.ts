import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Caller } from '../access/caller.ts';
import type { LongRequests } from '../access/long-requests.ts';
import type { Actor } from '../actor.ts';
import type { Sightings } from '../control/sightings.ts';
import type { Tx } from '../db/database.ts';
import { IfNoneMatch, notModified } from '../http/etags.ts';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { ConditionalHeaders, ifMatch } from '../http/preconditions.ts';
import { actProblems, problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { sendShared } from '../http/serialization.ts';
import type { Precondition } from '../precondition.ts';
import type { QuestionListWaiters } from './list-waiting.ts';
import type { QuestionLists } from './lists.ts';
import { questionNotFound } from './question.ts';
import {
  Acknowledgement,
  Answer,
  Cancellation,
  Question,
  QuestionListWaitQuery,
  QuestionPage,
  QuestionParams,
  QuestionWaitQuery,
} from './schemas.ts';
import type { QuestionService } from './service.ts';
import type { QuestionWaiters } from './waiting.ts';

interface Dependencies {
  questions: QuestionService;
  /** An answer is stored as a signal. */
  signals: {
    answer(tx: Tx, questionId: string, answer: Answer, expected: Precondition, caller: Caller): Promise<Question>;
  };
  questionLists: QuestionLists;
  questionWaiters: QuestionWaiters;
  questionListWaiters: QuestionListWaiters;
  longRequests: LongRequests;
  sightings: Sightings;
  writes: IdempotentWrites;
}

export function questionRoutes(dependencies: Dependencies): FastifyPluginAsyncTypebox {
  const { questions, signals, questionLists, questionWaiters, questionListWaiters } = dependencies;
  const { longRequests, sightings, writes } = dependencies;
  const { write } = writes;
  const tags = ['questions'];

  /** The actor of a write on a question. An agent may act on its own questions only, others in their runs. @throws Refusal FORBIDDEN, ACTOR_MISMATCH, QUESTION_NOT_FOUND */
  async function ownerOf(
    { caller, body }: { caller: Caller; body: { actor?: Actor } },
    tx: Tx,
    questionId: string,
  ): Promise<Actor | undefined> {
    if (!caller.isOfRuns) return caller.actor(body.actor);
    const { run_id, agent_name } = await questions.required(tx, questionId);
    if (!caller.sees(run_id)) throw questionNotFound(questionId);
    caller.assertActsFor(run_id, agent_name);
    return caller.actor(body.actor, agent_name);
  }

  return async app => {
    app.get(
      '/questions',
      {
        schema: {
          operationId: 'listQuestions',
          summary:
            "The operator's inbox: most urgent first, then oldest first; with wait, as soon as there is a question",
          tags,
          querystring: QuestionListWaitQuery,
          response: { 200: Ref(QuestionPage), ...problemResponses('INVALID_CURSOR', 'TOO_MANY_WAITS') },
        },
      },
      async (request, reply) => {
        const { wait = 0, ...query } = request.caller.inRun(request.query);
        if (wait === 0) return questionLists.list(query);
        return longRequests.wait(request, reply, signal =>
          questionListWaiters.wait(query, { timeoutMs: wait * 1000, signal }),
        );
      },
    );

    app.get(
      '/questions/:question_id',
      {
        schema: {
          operationId: 'getQuestion',
          summary: 'Read a question; with wait, answer as soon as it changes',
          description:
            'Waiting ends as soon as the question is no longer open or, with `after_version`, as soon as its version is greater.',
          tags,
          params: QuestionParams,
          querystring: QuestionWaitQuery,
          headers: IfNoneMatch,
          response: { 200: Ref(Question), ...notModified, ...problemResponses('QUESTION_NOT_FOUND', 'TOO_MANY_WAITS') },
        },
      },
      async (request, reply) => {
        const { question_id } = request.params;
        const { wait = 0, after_version } = request.query;
        if (wait === 0 || request.caller.isOfRuns) {
          const question = await questions.get(question_id);
          if (!request.caller.sees(question.run_id)) throw questionNotFound(question_id);
          if (wait === 0) return question;
          if (request.caller.isAgent && request.caller.isBoundTo(question.agent_name)) sightings.note(question);
        }
        const question = await longRequests.wait(request, reply, signal =>
          questionWaiters.wait(question_id, {
            isNews: ({ state, version }) => (after_version === undefined ? state !== 'open' : version > after_version),
            timeoutMs: wait * 1000,
            signal,
          }),
        );
        return sendShared(reply, question);
      },
    );

    app.put(
      '/questions/:question_id/answer',
      {
        schema: {
          operationId: 'answerQuestion',
          summary: 'Answer a question; same effect as a guidance_answer that names it',
          description:
            'The first answer wins: another one is refused, and the same one again changes nothing. A question with `approvals_required` 2 stays open until two people have given the same answer; each of them may change theirs until then.',
          tags,
          params: QuestionParams,
          headers: ConditionalHeaders,
          body: Ref(Answer),
          response: {
            200: Ref(Question),
            ...actProblems(
              'QUESTION_NOT_FOUND',
              'ALREADY_ANSWERED',
              'QUESTION_CLOSED',
              'THREAD_CLOSED',
              'RUN_CLOSED',
              'RUN_ERASED',
              'PRECONDITION_FAILED',
              'INVALID_SELECTION',
            ),
          },
        },
      },
      async (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            const { params, body: answer, headers, caller } = request;
            const body = await signals.answer(tx, params.question_id, answer, ifMatch(headers), caller);
            return { status: 200, body };
          },
          { touches: await questions.touches(request.params.question_id) },
        ),
    );

    app.post(
      '/questions/:question_id/cancel',
      {
        schema: {
          operationId: 'cancelQuestion',
          summary: 'Cancel an open question',
          description: 'Its agent gets the news in its inbox.',
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
      async (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            const { question_id } = request.params;
            const actor = await ownerOf(request, tx, question_id);
            const body = await questions.cancel(tx, question_id, actor ?? { type: 'operator', name: 'operator' });
            return { status: 200, body, reference: question_id };
          },
          { rebuild: questions.current, touches: await questions.touches(request.params.question_id) },
        ),
    );

    app.post(
      '/questions/:question_id/acknowledge',
      {
        schema: {
          operationId: 'acknowledgeQuestion',
          summary: 'Acknowledge, as the asking agent, that the outcome of a question has arrived',
          tags,
          params: QuestionParams,
          headers: IdempotentHeaders,
          body: Ref(Acknowledgement),
          response: { 200: Ref(Question), ...writeProblems('QUESTION_NOT_FOUND', 'QUESTION_OPEN') },
        },
      },
      async (request, reply) =>
        write(
          request,
          reply,
          async tx => {
            const { question_id } = request.params;
            const actor = await ownerOf(request, tx, question_id);
            const body = await questions.acknowledge(tx, question_id, actor);
            return { status: 200, body, reference: question_id };
          },
          { rebuild: questions.current, touches: await questions.touches(request.params.question_id) },
        ),
    );
  };
}
