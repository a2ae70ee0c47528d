import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { ConditionalHeaders, ifMatch } from '../http/preconditions.ts';
import { bodyProblems, problems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { ThreadLists } from './lists.ts';
import {
  NewPost,
  NewThread,
  PostAndThread,
  PostPage,
  PostQuery,
  ReadParams,
  SeenMark,
  Thread,
  ThreadChange,
  ThreadPage,
  ThreadParams,
  ThreadQuery,
  ViewerQuery,
} from './schemas.ts';
import type { Threads } from './service.ts';

export function threadRoutes(threads: Threads, lists: ThreadLists): FastifyPluginAsyncTypebox {
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
      '/threads',
      {
        schema: {
          operationId: 'listThreads',
          summary:
            'List threads, queues and search results: most urgent first, then latest activity; with q, best match first',
          tags,
          querystring: ThreadQuery,
          response: { 200: Ref(ThreadPage), ...problems('INVALID_CURSOR') },
        },
      },
      request => lists.list(request.query),
    );

    app.get(
      '/threads/:thread_id',
      {
        schema: {
          operationId: 'getThread',
          summary: 'Read a thread',
          tags,
          params: ThreadParams,
          querystring: ViewerQuery,
          response: { 200: Ref(Thread), ...problems('THREAD_NOT_FOUND') },
        },
      },
      request => threads.get(request.params.thread_id, request.query.viewer),
    );

    app.patch(
      '/threads/:thread_id',
      {
        schema: {
          operationId: 'changeThread',
          summary: 'Change state, priority and assignee, together or alone',
          tags,
          params: ThreadParams,
          headers: ConditionalHeaders,
          body: Ref(ThreadChange),
          response: {
            200: Ref(Thread),
            ...bodyProblems('THREAD_NOT_FOUND', 'THREAD_CLOSED', 'TRANSITION_NOT_ALLOWED', 'PRECONDITION_FAILED'),
          },
        },
      },
      request => threads.change(request.params.thread_id, request.body, ifMatch(request.headers)),
    );

    app.put(
      '/threads/:thread_id/reads/:viewer',
      {
        schema: {
          operationId: 'markThreadSeen',
          summary: 'Say how far a viewer has seen a thread; marks only move forward',
          tags,
          params: ReadParams,
          body: Ref(SeenMark),
          response: { 200: Ref(Thread), ...bodyProblems('THREAD_NOT_FOUND') },
        },
      },
      ({ params, body }) => threads.markSeen(params.thread_id, params.viewer, body.sequence),
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
