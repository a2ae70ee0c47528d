import { randomUUID } from 'node:crypto';
import type { SignalResult } from '../client/index.ts';
import { defineCommand, exits } from './command.ts';
import { reportInOrder } from './deliver.ts';
import { evidenceOf, evidenceOption } from './evidence.ts';

export const command = defineCommand({
  name: 'complete',
  summary: 'Report that the work is done, with evidence',
  usage: '["SUMMARY"] [--evidence KIND:REF]...',
  counts: { least: 0, most: 1 },
  options: evidenceOption,
  async run(context, [summary], values) {
    const { run_id, agent_name } = context.identity;
    const request = { ...(summary !== undefined && { summary }), ...evidenceOf(values.evidence) };
    const idempotency_key = randomUUID();
    const result = await reportInOrder(context, { act: 'complete', run_id, agent_name, request, idempotency_key });
    await context.print(`Completed.${unreadText(result)}`, stateOf(result));
    return exits.done;
  },
});

/** Tells an agent of news that it has not read. */
export function unreadText(result: SignalResult | undefined): string {
  const unread = result?.inbox.unread ?? 0;
  return unread === 0 ? '' : ` ${unread} unread in \`forumbus inbox\`.`;
}

export function stateOf(result: SignalResult | undefined) {
  return { status: result?.control.status, attempt: result?.control.attempt, unread: result?.inbox.unread };
}
