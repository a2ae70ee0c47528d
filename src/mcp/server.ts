import { ProtocolError, ProtocolErrorCode, Server } from '@modelcontextprotocol/server';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { audienceOf } from './names.ts';
import { problemText } from './problems.ts';
import type { Call, Names } from './tool.ts';
import type { ToolSet } from './tools.ts';

/** What a model reads of this server while its client has not loaded the tools. At most 2 KB. */
const INSTRUCTIONS = {
  agent:
    'Forumbus carries your questions to the people who run you. When a decision is theirs (unclear requirements, risky or ' +
    'irreversible steps, missing access), call ask with one self-contained question, and with options if there are some. ' +
    '"Pending" is normal: people may be away for hours. Then call wait, or do other work first; the answer is not lost. ' +
    'Never invent an answer. When your work is done, call signal with type completion; call signal with type validation ' +
    'once you have checked it against the done criteria that status shows.',
  operator:
    'Forumbus carries questions of coding agents to your user. inbox lists the open ones; answer answers one, only as your ' +
    'user decides.',
  viewer: 'Forumbus carries questions of coding agents to people. inbox lists the open ones.',
};

/** How long clients may cache the list of tools. It changes with the version of the service only. Milliseconds. */
const CACHE_MS = 300_000;

/** The MCP server of one request: stateless, since the token says who calls and the database has all else. */
export function serverFor(tools: ToolSet, version: string, request: FastifyRequest, reply: FastifyReply, names: Names) {
  const audience = audienceOf(request.caller, names);
  const server = new Server(
    { name: 'forumbus', title: 'Forumbus', version },
    {
      capabilities: { tools: {} },
      instructions: INSTRUCTIONS[audience],
      cacheHints: { 'tools/list': { ttlMs: CACHE_MS, cacheScope: 'private' } },
    },
  );
  server.setRequestHandler('tools/list', () => ({ tools: tools.list(audience) }));
  server.setRequestHandler('tools/call', async ({ params }, { mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    const progress =
      progressToken === undefined
        ? undefined
        : (notice: number, message: string) =>
            mcpReq.notify({
              method: 'notifications/progress',
              params: { progressToken, progress: notice, message },
            });
    try {
      const call = { request, reply, names, progress, source: sourceOf(mcpReq._meta) };
      const answer = await tools.call(audience, params.name, params.arguments ?? {}, call);
      if (!answer) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `There is no tool ${params.name}.`);
      return { content: [{ type: 'text', text: answer.text }], ...(answer.meta && { _meta: answer.meta }) };
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      return { content: [{ type: 'text', text: problemText(error, request) }], isError: true };
    }
  });
  return server;
}

/** The names under which hosts send the id that their hooks know the call by. */
const TOOL_USE_IDS = { 'claudecode/toolUseId': 'claude', callId: 'codex' };

function sourceOf(meta: Record<string, unknown> = {}): Call['source'] {
  for (const [name, host] of Object.entries(TOOL_USE_IDS)) {
    const tool_use_id = meta[name];
    if (typeof tool_use_id === 'string' && /^[\x21-\x7e]{1,200}$/.test(tool_use_id)) return { host, tool_use_id };
  }
  return undefined;
}
