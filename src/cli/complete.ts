import { randomUUID } from 'node:crypto';
import type { SignalResult } from '../client/index.ts';
import { defineCommand, exits } from './command.ts';
import { reportInOrder } from './deliver.ts';
import { evidenceOf, evidenceOption } from './evidence.ts';
import type { Identity } from './identity.ts';

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
    await context.print(`Completed.${unreadText(context.identity, result)}`, signalState(result));
    return exits.done;
  },
});

/** Tells an agent of news that it has not read, and how to read them. */
export function unreadText({ isAgent, agent_name }: Identity, result: SignalResult | undefined): string {
  const unread = result?.inbox.unread ?? 0;
  if (unread === 0 || result?.signal.agent_name !== agent_name) return '';
  // Where nothing names the agent, the command shows people the questions.
  return ` ${unread} unread in \`forumbus inbox${isAgent ? '' : ` --agent ${agent_name}`}\`.`;
}

export function signalState(result: SignalResult | undefined) {
  return { status: result?.control.status, attempt: result?.control.attempt, unread: result?.inbox.unread };
}
