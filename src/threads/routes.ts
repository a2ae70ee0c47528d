import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Caller } from '../access/caller.ts';
import { parseActor } from '../actor.ts';
import type { Reader } from '../db/database.ts';
import { IfNoneMatch, notModified } from '../http/etags.ts';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { ConditionalHeaders, ifMatch } from '../http/preconditions.ts';
import { actProblems, problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import type { ThreadLists } from './lists.ts';
import {
  NewPost,
  NewThread,
  PostAndThread,
  PostPage,
  PostQuery,
  SeenMark,
  SeenParams,
  Thread,
  ThreadChange,
  ThreadPage,
  ThreadParams,
  ThreadQuery,
  ViewerQuery,
} from './schemas.ts';
import type { ThreadService } from './service.ts';
import { threadNotFound } from './thread.ts';

interface Dependencies {
  threads: ThreadService;
  threadLists: ThreadLists;
  writes: IdempotentWrites;
}

export function threadRoutes({ threads, threadLists, writes }: Dependencies): FastifyPluginAsyncTypebox {
  const { write } = writes;
  const tags = ['threads'];

  /** @throws Refusal THREAD_NOT_FOUND if the caller's token is for certain runs and the thread belongs to another */
  async function assertVisible(caller: Caller, reader: Reader | undefined, threadId: string): Promise<void> {
    if (!caller.isOfRuns) return;
    const { run_id } = reader ? await threads.row(reader, threadId) : await threads.get(threadId);
    if (!caller.sees(run_id)) throw threadNotFound(threadId);
  }

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
          const { body, caller } = request;
          const { run_id = null, agent_name } = body;
          if (agent_name === undefined) caller.assertRun(run_id);
          else caller.assertActsFor(run_id, agent_name);
          const { thread, created } = await threads.open(tx, body, caller.requiredActor(body.actor));
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
            'List threads, queues and search results: most urgent, then latest first; with `q`, best match first',
          tags,
          querystring: ThreadQuery,
          response: { 200: Ref(ThreadPage), ...problemResponses('ACTOR_MISMATCH', 'INVALID_CURSOR') },
        },
      },
      ({ caller, query }) => {
        caller.assertMaySeeMarksOf(query.viewer);
        return threadLists.list(caller.inRun(query));
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
          querystring: ViewerQuery,
          headers: IfNoneMatch,
          response: { 200: Ref(Thread), ...notModified, ...problemResponses('ACTOR_MISMATCH', 'THREAD_NOT_FOUND') },
        },
      },
      async ({ params, query, caller }) => {
        caller.assertMaySeeMarksOf(query.viewer);
        const thread = await threads.get(params.thread_id, query.viewer);
        if (!caller.sees(thread.run_id)) throw threadNotFound(params.thread_id);
        return thread;
      },
    );

    app.patch(
      '/threads/:thread_id',
      {
        schema: {
          operationId: 'changeThread',
          summary: 'Change the state, priority or assignee of a thread',
          description: 'Which state may follow which is in the documentation of threads.',
          tags,
          params: ThreadParams,
          headers: ConditionalHeaders,
          body: Ref(ThreadChange),
          response: {
            200: Ref(Thread),
            ...actProblems(
              'THREAD_NOT_FOUND',
              'THREAD_CLOSED',
              'TRANSITION_NOT_ALLOWED',
              'RUN_ERASED',
              'PRECONDITION_FAILED',
            ),
          },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { params, body, headers, caller } = request;
          await assertVisible(caller, tx, params.thread_id);
          const wanted = { ...body, actor: caller.requiredActor(body.actor) };
          return { status: 200, body: await threads.change(tx, params.thread_id, wanted, ifMatch(headers)) };
        }),
    );

    app.put(
      '/threads/:thread_id/reads/:viewer',
      {
        schema: {
          operationId: 'markThreadSeen',
          summary: 'Mark how far a viewer has seen a thread; marks only move forward',
          tags,
          params: SeenParams,
          headers: ConditionalHeaders,
          body: Ref(SeenMark),
          response: { 200: Ref(Thread), ...actProblems('THREAD_NOT_FOUND', 'PRECONDITION_FAILED') },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => {
          const { params, body, headers, caller } = request;
          const { thread_id, viewer } = params;
          await assertVisible(caller, tx, thread_id);
          caller.actor(parseActor(viewer));
          return { status: 200, body: await threads.markSeen(tx, thread_id, viewer, body.sequence, ifMatch(headers)) };
        }),
    );

    app.get(
      '/threads/:thread_id/posts',
      {
        schema: {
          operationId: 'listPosts',
          summary: 'Read the posts of a thread',
          tags,
          params: ThreadParams,
          querystring: PostQuery,
          response: { 200: Ref(PostPage), ...problemResponses('INVALID_CURSOR', 'THREAD_NOT_FOUND') },
        },
      },
      async ({ params, query, caller }) => {
        await assertVisible(caller, undefined, params.thread_id);
        return threads.posts(params.thread_id, query);
      },
    );

    app.post(
      '/threads/:thread_id/posts',
      {
        schema: {
          operationId: 'addPost',
          summary: 'Add a post to a thread, optionally with a new state',
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
        write(
          request,
          reply,
          async tx => {
            const { params, body: given, caller } = request;
            await assertVisible(caller, tx, params.thread_id);
            if (given.state !== undefined) caller.assertNoAgent('set the state of a thread');
            const post = { ...given, actor: caller.requiredActor(given.actor) };
            const body = await threads.addPost(tx, params.thread_id, post);
            const location = `/threads/${body.thread.thread_id}/posts`;
            return { status: 201, body, headers: { location }, reference: body.post.post_id };
          },
          { rebuild: threads.postAndThread },
        ),
    );
  };
}
