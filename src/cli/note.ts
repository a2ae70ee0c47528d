import { randomUUID } from 'node:crypto';
import { defineCommand, exits } from './command.ts';
import { reportInOrder } from './deliver.ts';

export const command = defineCommand({
  name: 'note',
  summary: 'Post a line of progress, without waiting for anybody',
  usage: '"TEXT"',
  counts: { least: 1, most: 1 },
  options: {},
  async run(context, [text = '']) {
    const { run_id, agent_name } = context.identity;
    await reportInOrder(context, { act: 'note', run_id, agent_name, text, idempotency_key: randomUUID() });
    await context.print('Noted.', { noted: true });
    return exits.done;
  },
});
