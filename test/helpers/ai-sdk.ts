import { tool } from 'ai';
import { MockLanguageModelV4 } from 'ai/test';
import { z } from 'zod';

type Generated = Awaited<ReturnType<MockLanguageModelV4['doGenerate']>>;
const usage = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 },
};

/** A model that calls deploy once for each target, then says that it is done; `heard` is what it heard of the calls. */
export function scriptedModel(targets: string[]) {
  const heard: unknown[] = [];
  const model = new MockLanguageModelV4({
    doGenerate: async ({ prompt }): Promise<Generated> => {
      const last = prompt.at(-1);
      if (last?.role !== 'tool') {
        const content = targets.map(target => ({
          type: 'tool-call' as const,
          toolCallId: `call-${target}`,
          toolName: 'deploy',
          input: JSON.stringify({ target, force: true }),
        }));
        return { content, finishReason: { unified: 'tool-calls', raw: undefined }, usage, warnings: [] };
      }
      heard.push(...last.content.flatMap(part => (part.type === 'tool-result' ? [part.output] : [])));
      const content = [{ type: 'text' as const, text: 'Done.' }];
      return { content, finishReason: { unified: 'stop', raw: undefined }, usage, warnings: [] };
    },
  });
  return { model, heard };
}

/** The tool that the model calls. @param deployed gets each target */
export function deployTool(deployed: string[]) {
  return tool({
    inputSchema: z.object({ target: z.string(), force: z.boolean() }),
    execute: ({ target }) => {
      deployed.push(target);
      return `${target} is deployed`;
    },
  });
}
