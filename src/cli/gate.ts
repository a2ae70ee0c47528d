import { defineCommand, exits } from './command.ts';
import { drain } from './deliver.ts';
import { secondsOf } from './duration.ts';
import { oneLine } from './output.ts';

export const command = defineCommand({
  name: 'gate',
  summary: 'Show whether a run may be closed, and what blocks it',
  usage: '[RUN] [--wait 9m]',
  counts: { least: 0, most: 1 },
  options: { wait: { type: 'string', default: '0' } },
  help: `  --wait TIME    waits so long until the run may be closed
Exit code 0 if it may be closed or is closed, 75 if something blocks it. \`forumbus run close RUN\` closes it.`,
  async run(context, [run], values) {
    const { client, identity, print } = context;
    const wait_seconds = secondsOf('wait', values.wait);
    await drain(context);
    const gate = await client.gate(run ?? identity.run_id, { wait_seconds });
    if (gate.status === 'closed') await print('closed', gate);
    else if (gate.ready) await print('ready', gate);
    else {
      const reasons = gate.reasons.map(({ detail }) => oneLine(detail)).join(' ');
      await print(`blocked: ${reasons}`, gate);
      return exits.open;
    }
    return exits.done;
  },
});
