import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { RunState, run } from '@openai/agents';
import { decideInterruptions } from '../../src/adapters/openai-agents.ts';
import { Forumbus } from '../../src/client/index.ts';
import { scriptedAgent } from './openai-agents.ts';

/*
 * A process that runs an agent of OpenAI Agents and keeps its state in a file, so that it can be killed and started again.
 * Arguments: the file, the service's URL, the run.
 */

const [file = '', url = '', run_id = ''] = process.argv.slice(2);
const { agent, deployed } = scriptedAgent(['staging', 'production']);
const client = new Forumbus({ url, run_id, agent_name: 'builder' });

const stored = existsSync(file) ? await RunState.fromString(agent, readFileSync(file, 'utf8')) : undefined;
let state = stored ?? (await run(agent, 'Deploy.')).state;
let output: string | undefined;
while (output === undefined) {
  writeFileSync(`${file}.new`, state.toString());
  renameSync(`${file}.new`, file);
  await decideInterruptions(client, state as Parameters<typeof decideInterruptions>[1]);
  const result = await run(agent, state as RunState<unknown, typeof agent>);
  state = result.state;
  output = result.finalOutput;
}
process.stdout.write(JSON.stringify({ output, deployed }));
