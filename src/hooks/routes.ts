import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { LongRequests } from '../access/long-requests.ts';
import { exactName } from '../access/pattern.ts';
import { Forumbus, ForumbusError } from '../client/index.ts';
import { Refusal } from '../errors.ts';
import { bodyProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { claude } from './claude.ts';
import type { Awaited, Notes, Reply, SessionNotes } from './hook.ts';
import { ClaudeHookInput, HookQuery, HookReply } from './schemas.ts';

interface Dependencies {
  longRequests: LongRequests;
  /** Aborts when the service stops. */
  ending: AbortSignal;
  /** What stands before each path of the service. */
  basePath: string;
}

/** An event holds what tools have returned. Bytes. */
const EVENT_SIZE = 1_048_576;
/** The most sessions that are remembered; a forgotten one loses little. */
const SESSIONS = 1000;

export function hookRoutes({ longRequests, ending, basePath }: Dependencies): FastifyPluginAsyncTypebox {
  const notes = createNotes();
  const awaited = createAwaited();

  return async app => {
    app.post(
      '/hooks/claude',
      {
        bodyLimit: EVENT_SIZE,
        config: { isOnlyRead: true },
        schema: {
          operationId: 'callClaudeHook',
          summary: 'Answer an http hook of Claude Code; waits for people where the event is a question',
          tags: ['hooks'],
          querystring: HookQuery,
          body: Ref(ClaudeHookInput),
          response: {
            200: Ref(HookReply),
            204: Type.Null({ description: 'There is nothing to say.' }),
            ...bodyProblems('TOO_MANY_WAITS'),
          },
        },
      },
      async (request, reply) => {
        const { query, body, caller, headers } = request;
        const { runs, agents } = caller.me;
        const run_id = query.run ?? exactName(runs);
        if (run_id === undefined) throw runMissing;
        const agent_name = query.agent ?? exactName(agents) ?? 'claude';
        caller.assertActsFor(run_id, agent_name);
        const left = longRequests.enter('wait', request, reply);
        const client = new Forumbus({
          url: `http://localhost${basePath}`,
          run_id,
          agent_name,
          fetch: inside(app, headers.authorization, request.ip),
          retry_seconds: 0,
        });
        const { output, delivered } = await unlessRefused(() =>
          claude(body, {
            host: 'claude',
            client,
            notes,
            awaited,
            switches: { headless: false, park: false, away: false, expires_in_seconds: undefined },
            withdrawn: left,
            ending,
          }),
        );
        if (delivered) {
          // What could not be acknowledged is shown once more.
          reply.raw.once('finish', () => void delivered().catch(error => request.log.debug({ err: error }, 'hook')));
        }
        return output ? reply.send(output as HookReply) : reply.code(204).send(null);
      },
    );
  };
}

const runMissing = new Refusal('VALIDATION_FAILED', 'query/run: is required', {
  errors: [{ in: 'query', pointer: '/run', code: 'REQUIRED', detail: 'is required' }],
});

/** A refusal of what the hook does is no refusal of the hook: the session goes on without us. */
async function unlessRefused(work: () => Promise<Reply>): Promise<Reply> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ForumbusError) return {};
    throw error;
  }
}

/** A fetch that calls this service from inside, with the token and the address of the caller. */
function inside(app: FastifyInstance, authorization: string | undefined, remoteAddress: string): typeof fetch {
  return (async (input, { method = 'GET', headers, body, signal } = {}) => {
    const { pathname, search } = new URL(String(input));
    const aborted = new Promise<never>((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    const answer = await Promise.race([
      app.inject({
        method: method as 'GET',
        url: pathname + search,
        remoteAddress,
        headers: { ...(headers as Record<string, string>), ...(authorization !== undefined && { authorization }) },
        ...(typeof body === 'string' && { payload: body }),
      }),
      aborted,
    ]);
    return new Response(answer.body, { status: answer.statusCode, headers: answer.headers as Record<string, string> });
  }) satisfies typeof fetch;
}

function createNotes(): Notes {
  const sessions = new Map<string, SessionNotes>();
  return {
    read: session => sessions.get(session) ?? {},
    write: (session, notes) => {
      sessions.delete(session);
      sessions.set(session, notes);
      const [oldest] = sessions.keys();
      if (sessions.size > SESSIONS && oldest !== undefined) sessions.delete(oldest);
    },
  };
}

function createAwaited(): Awaited {
  const questions = new Set<string>();
  return {
    add: id => questions.add(id),
    remove: id => questions.delete(id),
    has: id => questions.has(id),
  };
}
