import type { Agent, RunState, RunToolApprovalItem } from '@openai/agents';
import type { Forumbus } from '../client/index.ts';
import { askApproval } from './approval.ts';
import type { Asking } from './question.ts';

/**
 * Asks about each interruption of a run and approves or rejects it in `state`; the person's text goes to the model. Run
 * the agent again with the state. A state that was stored and read again finds its questions.
 * @returns whether all are decided; false if one is open after `wait_seconds`
 */
export async function decideInterruptions(
  client: Forumbus,
  state: Pick<RunState<unknown, Agent>, 'getInterruptions' | 'approve' | 'reject'>,
  asking: Asking = {},
): Promise<boolean> {
  const decided = await Promise.all(
    state.getInterruptions().map(async item => {
      const verdict = await askApproval(client, callOf(item), asking);
      if (verdict?.approved) state.approve(item);
      else if (verdict) state.reject(item, { message: verdict.reason });
      return verdict !== undefined;
    }),
  );
  return decided.every(one => one);
}

function callOf(item: RunToolApprovalItem) {
  const { rawItem, arguments: input = rawItem } = item;
  const id = ('callId' in rawItem ? rawItem.callId : undefined) ?? rawItem.id ?? '';
  return { host: 'openai-agents', id, tool: item.name ?? rawItem.type, input };
}
