import type { ModelMessage, ToolApprovalResponse, ToolApprovalStatus, ToolModelMessage } from 'ai';
import type { Forumbus } from '../client/index.ts';
import { askApproval } from './approval.ts';
import type { Asking } from './question.ts';

interface Call {
  toolCallId: string;
  toolName: string;
  input: unknown;
}

/**
 * The `toolApproval` of generateText, streamText and agents: a person allows each call. If `wait_seconds` are over, the
 * framework ends with an approval request: see `answerApprovals`.
 */
export function toolApproval(client: Forumbus, asking: Asking = {}) {
  return async ({ toolCall }: { toolCall: Call }): Promise<ToolApprovalStatus> => {
    const verdict = await approve(client, toolCall, asking);
    if (!verdict) return 'user-approval';
    const { approved, reason } = verdict;
    return { type: approved ? 'approved' : 'denied', ...(reason !== undefined && { reason }) };
  };
}

/**
 * The message that answers the approval requests at the end of a conversation: append it and call the model again. A call
 * that `toolApproval` has asked about is not asked about again.
 * @returns undefined while one of the questions is open, or if nothing is requested
 */
export async function answerApprovals(
  client: Forumbus,
  messages: readonly ModelMessage[],
  asking: Asking = {},
): Promise<ToolModelMessage | undefined> {
  const last = messages.findLast(({ role }) => role === 'assistant');
  const parts = last && typeof last.content !== 'string' ? last.content : [];
  const calls = parts.filter(part => part.type === 'tool-call');
  const given = messages.flatMap(({ role, content }) => (role === 'tool' ? content : []));
  const isAnswered = (id: string) =>
    given.some(part => part.type === 'tool-approval-response' && part.approvalId === id);
  const requests = parts
    .filter(part => part.type === 'tool-approval-request')
    .filter(({ approvalId, isAutomatic }) => !isAutomatic && !isAnswered(approvalId));
  const content = await Promise.all(
    requests.map(async (request): Promise<ToolApprovalResponse[]> => {
      const { approvalId, toolCallId } = request;
      const call = calls.find(part => part.toolCallId === toolCallId);
      const verdict = call && (await approve(client, call as Call, asking));
      return verdict ? [{ type: 'tool-approval-response', approvalId, ...verdict }] : [];
    }),
  );
  if (content.length === 0 || content.some(responses => responses.length === 0)) return undefined;
  return { role: 'tool', content: content.flat() };
}

function approve(client: Forumbus, { toolCallId, toolName, input }: Call, asking: Asking) {
  return askApproval(client, { host: 'ai-sdk', id: toolCallId, tool: toolName, input }, asking);
}
