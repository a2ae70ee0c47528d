import type { Interrupt } from '@langchain/langgraph';
import { type AskRequest, choiceText, type Forumbus } from '../client/index.ts';
import { askApproval, jsonOf } from './approval.ts';
import { type Asking, askOnce, textOf } from './question.ts';

/** The interrupt of LangChain's human-in-the-loop middleware. */
interface ToolReview {
  actionRequests: { name: string; args: unknown; description?: string }[];
}

const host = 'langgraph';

/**
 * Asks a question for each interrupt and returns the `resume` of a Command: the answers by interrupt. An interrupt is a
 * text, an AskRequest, or a HITLRequest of LangChain, which gets its decisions. A question that ended without an answer
 * resumes with its default, or with null. What is open after `wait_seconds` is left out.
 */
export async function answerInterrupts(
  client: Forumbus,
  interrupts: readonly Interrupt[],
  asking: Asking = {},
): Promise<Record<string, unknown>> {
  const answers = await Promise.all(
    interrupts.map(async ({ id = '', value }) => [id, await answerTo(client, id, value, asking)] as const),
  );
  return Object.fromEntries(answers.filter(([, answer]) => answer !== undefined));
}

async function answerTo(client: Forumbus, id: string, value: unknown, asking: Asking): Promise<unknown> {
  if (isReview(value)) return decisionsOf(client, id, value, asking);
  const request = { ...requestOf(value), source: { host, tool_use_id: id } };
  const question = await askOnce(client, `${host} ${id}`, request, asking);
  if (question.state === 'open') return undefined;
  if (question.state === 'answered') return textOf(question);
  return question.default_applied ? choiceText(question.default_answer, question.default_selected) : null;
}

async function decisionsOf(client: Forumbus, id: string, { actionRequests }: ToolReview, asking: Asking) {
  const verdicts = await Promise.all(
    actionRequests.map(({ name, args, description }, index) =>
      askApproval(client, { host, id: `${id} ${index}`, tool: name, input: args, title: description }, asking),
    ),
  );
  const decisions = verdicts.map(given =>
    given?.approved ? { type: 'approve' } : { type: 'reject', message: given?.reason },
  );
  return verdicts.includes(undefined) ? undefined : { decisions };
}

function requestOf(value: unknown): AskRequest {
  if (typeof value === 'string') return { question: value };
  if (typeof value === 'object' && value !== null && 'question' in value) return value as AskRequest;
  return { question: 'How does the graph go on?', context: jsonOf(value) };
}

function isReview(value: unknown): value is ToolReview {
  return typeof value === 'object' && value !== null && 'actionRequests' in value;
}
