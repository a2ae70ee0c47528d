import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { IfNoneMatch, notModified } from '../http/etags.ts';
import { ConditionalHeaders, ifMatch } from '../http/preconditions.ts';
import { bodyProblems, problems, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { IdempotentHeaders, type Writing } from '../http/writing.ts';
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

export function threadRoutes(threads: Threads, lists: ThreadLists, { write }: Writing): FastifyPluginAsyncTypebox {
  const tags = ['threads'];
  return async app => {
    app.post(
      '/threads',
      {
        schema: {
          operationId: 'openThread',
          summary: 'Open a thread',
          tags,
          headers: IdempotentHeaders,
          body: Ref(NewThread),
          response: {
            200: Ref(Thread),
            201: Ref(Thread),
            ...writeProblems('THREAD_EXISTS', 'RESERVED_THREAD_ID'),
          },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { thread, created } = await threads.open(tx, request.body);
          if (!created) return { status: 200, body: thread };
          return { status: 201, body: thread, headers: { location: `/threads/${thread.thread_id}` } };
        }),
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
          headers: IfNoneMatch,
          response: { 200: Ref(Thread), ...notModified, ...problems('THREAD_NOT_FOUND') },
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
      (request, reply) =>
        write(request, reply, async tx => {
          const { params, body, headers } = request;
          return { status: 200, body: await threads.change(tx, params.thread_id, body, ifMatch(headers)) };
        }),
    );

    app.put(
      '/threads/:thread_id/reads/:viewer',
      {
        schema: {
          operationId: 'markThreadSeen',
          summary: 'Say how far a viewer has seen a thread; marks only move forward',
          tags,
          params: ReadParams,
          headers: ConditionalHeaders,
          body: Ref(SeenMark),
          response: { 200: Ref(Thread), ...bodyProblems('THREAD_NOT_FOUND', 'PRECONDITION_FAILED') },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { params, body, headers } = request;
          const { thread_id, viewer } = params;
          return { status: 200, body: await threads.markSeen(tx, thread_id, viewer, body.sequence, ifMatch(headers)) };
        }),
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
          headers: IdempotentHeaders,
          body: Ref(NewPost),
          response: {
            201: Ref(PostAndThread),
            ...writeProblems('THREAD_NOT_FOUND', 'THREAD_CLOSED', 'TRANSITION_NOT_ALLOWED'),
          },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const body = await threads.addPost(tx, request.params.thread_id, request.body);
          return { status: 201, body, headers: { location: `/threads/${body.thread.thread_id}/posts` } };
        }),
    );
  };
}
