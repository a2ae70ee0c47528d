import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { Refusal } from '../errors.ts';
import { whileConnected } from '../http/connection.ts';
import { bodyProblems } from '../http/problems.ts';
import { JsonObject, Name, Strict } from '../http/schemas.ts';
import { HOLD_TIMES, type HoldTimes } from './hold.ts';
import type { Names } from './tool.ts';
import { createTools, type ToolDependencies } from './tools.ts';

interface Dependencies extends Omit<ToolDependencies, 'times'> {
  /** Foreign origins whose pages may call the service. */
  origins: readonly string[];
  version: string;
  times?: HoldTimes | undefined;
  /** Aborted when the service stops. */
  ending: AbortSignal;
}

const NamesQuery = Strict({
  run: Type.Optional({ ...Name, description: 'The run of the agent, unless its token is for one.' }),
  agent: Type.Optional({ ...Name, description: 'The name of the agent, unless its token is for one.' }),
});

const Message = Type.Unsafe<Record<string, unknown>>({ ...JsonObject, description: 'A JSON-RPC 2.0 message.' });

const EXAMPLE = { jsonrpc: '2.0', id: 1, method: 'tools/list' };

/**
 * The MCP server: revisions 2026-07-28 and before, each request for itself. The SDK speaks the protocol; connections, access,
 * limits and waits are those of all routes.
 */
export function mcpRoutes(dependencies: Dependencies): FastifyPluginAsyncTypebox {
  const { origins, version, times = HOLD_TIMES, longRequests, ending } = dependencies;
  const tools = createTools({ ...dependencies, times });

  return async app => {
    const problems = bodyProblems('TOO_MANY_STREAMS');
    app.post(
      '/mcp',
      {
        onRequest: async request => assertOrigin(request, origins),
        schema: {
          operationId: 'callMcp',
          summary: 'The MCP server (Model Context Protocol), over stateless streamable HTTP',
          tags: ['mcp'],
          querystring: NamesQuery,
          body: { ...JsonObject, description: 'A JSON-RPC 2.0 request or notification.', examples: [EXAMPLE] },
          response: {
            200: {
              description: 'The response; as an event stream, after notices of progress.',
              content: {
                'application/json': { schema: Message },
                'text/event-stream': { schema: Type.String() },
              },
            },
            202: Type.Null({ description: 'The notification is accepted.' }),
            ...problems,
            400: {
              ...problems[400],
              content: { ...problems[400]?.content, 'application/json': { schema: Message } },
            },
            404: {
              description: 'A JSON-RPC error: the method is unknown.',
              content: { 'application/json': { schema: Message } },
            },
          },
        },
      },
      async (request, reply) => {
        const response = await answered(request as FastifyRequest, reply as FastifyReply, request.query);
        // Fastify sends it as it is; its types know the documented bodies only.
        return (reply as FastifyReply).send(response);
      },
    );
  };

  async function answered(request: FastifyRequest, reply: FastifyReply, names: Names): Promise<Response> {
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers)) {
      if (value !== undefined) headers.set(name, String(value));
    }
    // Older clients leave it out; the answer has one of these forms in any case.
    if (!headers.get('accept')?.includes('json')) headers.set('accept', 'application/json, text/event-stream');
    // The tools never change, so a subscription hears nothing; yet it lasts like an event stream.
    const isStream = (request.body as { method?: unknown }).method === 'subscriptions/listen';
    const signal = isStream
      ? AbortSignal.any([longRequests.enter('stream', request, reply), ending])
      : whileConnected(reply);
    // Loaded at the first call: the SDK takes 8 MiB, and not every service has a client of MCP.
    const [{ createMcpHandler }, { serverFor }] = await Promise.all([
      import('@modelcontextprotocol/server'),
      import('./server.ts'),
    ]);
    const handler = createMcpHandler(() => serverFor(tools, version, request, reply, names), {
      onerror: error => request.log.info({ err: { message: error.message } }, 'MCP request refused'),
    });
    const web = new Request('http://forumbus/mcp', { method: 'POST', headers, signal });
    return handler.fetch(web, { parsedBody: request.body });
  }
}

/**
 * Refuses pages of other origins, also with a valid token (MCP, transports: security warning).
 * @throws Refusal ORIGIN_NOT_ALLOWED
 */
function assertOrigin({ headers: { origin, host } }: FastifyRequest, origins: readonly string[]): void {
  if (origin === undefined || origins.includes(origin)) return;
  if (origin === `http://${host}` || origin === `https://${host}`) return;
  throw new Refusal('ORIGIN_NOT_ALLOWED', 'Pages of other origins may not call the MCP server.');
}
