import { Agent, type Model, type ModelRequest, setTracingDisabled, tool, Usage } from '@openai/agents';
import { z } from 'zod';

// Traces would go to the maker of the framework.
setTracingDisabled(true);

/** An agent whose model deploys once to each target, which needs approval, then repeats what it hears of that. */
export function scriptedAgent(targets: string[]) {
  const deployed: string[] = [];
  const deploy = tool({
    name: 'deploy',
    description: 'Deploys.',
    parameters: z.object({ target: z.string() }),
    needsApproval: true,
    execute: ({ target }) => {
      deployed.push(target);
      return `${target} is deployed`;
    },
  });
  const model: Model = {
    async getResponse({ input }: ModelRequest) {
      const results = typeof input === 'string' ? [] : input.filter(item => item.type === 'function_call_result');
      const usage = new Usage();
      if (results.length === 0) {
        const calls = targets.map(target => ({
          type: 'function_call' as const,
          callId: `call-${target}`,
          name: 'deploy',
          arguments: JSON.stringify({ target }),
          status: 'completed' as const,
        }));
        return { usage, output: calls };
      }
      const heard = results.map(({ output }) =>
        typeof output === 'object' && 'text' in output ? output.text : output,
      );
      const content = [{ type: 'output_text' as const, text: heard.join('; ') }];
      return { usage, output: [{ type: 'message', role: 'assistant', status: 'completed', content }] };
    },
    // biome-ignore lint/correctness/useYield: no test streams
    async *getStreamedResponse() {
      throw new Error('This model does not stream.');
    },
  };
  const agent = new Agent({ name: 'deployer', instructions: 'Deploy.', model, tools: [deploy] });
  return { agent, deployed };
}
