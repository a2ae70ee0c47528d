import { ForumbusError } from '../client/index.ts';
import { type Context, defineCommand, exits } from './command.ts';
import { drain } from './deliver.ts';
import { oneLine } from './output.ts';

export const command = defineCommand({
  name: 'status',
  summary: 'Show which agent this is, and its state',
  usage: '',
  counts: { least: 0, most: 0 },
  options: {},
  async run(context) {
    const { client, identity, print } = context;
    const { url, run_id, agent_name } = identity;
    await drain(context);
    const control = await client.status();
    const run_status = await runStatus(context);
    const count = control?.open_questions_count ?? 0;
    const questions =
      count === 0 ? '' : `, open questions: ${control?.open_questions.slice(0, 3).join(', ')}${count > 3 ? '…' : ''}`;
    const known = control ? `${control.status}, attempt ${control.attempt}${questions}` : 'no signal yet';
    const state = run_status === 'closed' ? `${known}; the run is closed` : known;
    await print(`${oneLine(agent_name)} in ${oneLine(run_id)} at ${oneLine(url)}: ${state}`, {
      url,
      run_id,
      agent_name,
      control,
      run_status,
    });
    return exits.done;
  },
});

/** The status of the agent's run; null before its first signal or brief. */
async function runStatus({ client, identity }: Context) {
  try {
    return (await client.gate(identity.run_id)).status;
  } catch (error) {
    if (error instanceof ForumbusError && error.code === 'RUN_NOT_FOUND') return null;
    throw error;
  }
}
