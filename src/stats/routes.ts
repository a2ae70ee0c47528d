import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { problemResponses } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { QuestionService } from '../questions/service.ts';
import type { ThreadService } from '../threads/service.ts';
import { Stats } from './schemas.ts';

interface Dependencies {
  threads: Pick<ThreadService, 'counts'>;
  questions: QuestionService;
}

export function statsRoutes({ threads, questions }: Dependencies): FastifyPluginAsyncTypebox {
  return async app => {
    app.get(
      '/stats',
      {
        schema: {
          operationId: 'getStats',
          summary: 'Count threads, open questions and signals',
          tags: ['stats'],
          response: { 200: Ref(Stats), ...problemResponses() },
        },
      },
      async () => ({ ...(await threads.counts()), open_questions: await questions.backlog() }),
    );
  };
}
