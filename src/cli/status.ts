import { defineCommand, exits } from './command.ts';
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
    const count = control?.open_questions_count ?? 0;
    const questions =
      count === 0 ? '' : `, open questions: ${control?.open_questions.slice(0, 3).join(', ')}${count > 3 ? '…' : ''}`;
    const state = control ? `${control.status}, attempt ${control.attempt}${questions}` : 'no signal yet';
    await print(`${oneLine(agent_name)} in ${oneLine(run_id)} at ${oneLine(url)}: ${state}`, {
      url,
      run_id,
      agent_name,
      control,
    });
    return exits.done;
  },
});
