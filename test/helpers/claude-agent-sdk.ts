import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Query, query, type SDKUserMessage } from '@anthropic-ai/claude-agent-sdk';
import { canUseTool } from '../../src/adapters/claude-agent-sdk.ts';
import type { Forumbus } from '../../src/client/index.ts';

const script = fileURLToPath(new URL('./scripted-claude.ts', import.meta.url));

interface ToolCall {
  tool_name: string;
  input: object;
  tool_use_id: string;
}

/** A query of the SDK whose agent makes one call of a tool, and what the agent hears of it. */
export function callingTool(client: Forumbus, call: ToolCall, about: Parameters<typeof canUseTool>[1] = {}) {
  const done = Promise.withResolvers<void>();
  async function* prompt(): AsyncGenerator<SDKUserMessage> {
    yield { type: 'user', message: { role: 'user', content: JSON.stringify(call) }, parent_tool_use_id: null };
    await done.promise;
  }
  const running: Query = query({
    prompt: prompt(),
    options: {
      canUseTool: canUseTool(client, about),
      // The lock has no Claude Code: its binary is large, and needs an account.
      pathToClaudeCodeExecutable: script,
      spawnClaudeCodeProcess: ({ signal }) =>
        spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'], signal }),
    },
  });
  const heard = (async () => {
    for await (const message of running) {
      if (message.type !== 'result' || message.subtype !== 'success') continue;
      done.resolve();
      return JSON.parse(message.result);
    }
  })();
  return { running, heard };
}
