import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { bodyProblems, problems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { NewPost, NewThread, PostAndThread, PostPage, PostQuery, Thread, ThreadParams } from './schemas.ts';
import type { Threads } from './service.ts';

export function threadRoutes(threads: Threads): FastifyPluginAsyncTypebox {
  const tags = ['threads'];
  return async app => {
    app.post(
      '/threads',
      {
        schema: {
          operationId: 'openThread',
          summary: 'Open a thread',
          tags,
          body: Ref(NewThread),
          response: {
            200: Ref(Thread),
            201: Ref(Thread),
            ...bodyProblems('THREAD_EXISTS', 'RESERVED_THREAD_ID'),
          },
        },
      },
      async (request, reply) => {
        const { thread, created } = await threads.open(request.body);
        if (created) reply.code(201).header('location', `/threads/${thread.thread_id}`);
        return thread;
      },
    );

    app.get(
      '/threads/:thread_id',
      {
        schema: {
          operationId: 'getThread',
          summary: 'Read a thread',
          tags,
          params: ThreadParams,
          response: { 200: Ref(Thread), ...problems('THREAD_NOT_FOUND') },
        },
      },
      request => threads.get(request.params.thread_id),
    );

    app.get(
      '/threads/:thread_id/posts',
      {
        schema: {
          operationId: 'listPosts',
          summary: 'Read the posts of a thread, oldest first',
          tags,
          params: ThreadParams,
          querystring: PostQuery,
          response: { 200: Ref(PostPage), ...problems('INVALID_CURSOR', 'THREAD_NOT_FOUND') },
        },
      },
      request => threads.posts(request.params.thread_id, request.query),
    );

    app.post(
      '/threads/:thread_id/posts',
      {
        schema: {
          operationId: 'addPost',
          summary: 'Reply in a thread, and set its state with the same request if wanted',
          tags,
          params: ThreadParams,
          body: Ref(NewPost),
          response: {
            201: Ref(PostAndThread),
            ...bodyProblems('THREAD_NOT_FOUND', 'THREAD_CLOSED', 'TRANSITION_NOT_ALLOWED'),
          },
        },
      },
      async (request, reply) => {
        const answer = await threads.addPost(request.params.thread_id, request.body);
        return reply.code(201).header('location', `/threads/${answer.thread.thread_id}/posts`).send(answer);
      },
    );
  };
}
