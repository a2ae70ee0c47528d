import type { CanUseTool } from '@anthropic-ai/claude-agent-sdk';
import type { AskUserQuestionInput } from '@anthropic-ai/claude-agent-sdk/sdk-tools';
import type { AskRequest, Forumbus, Question } from '../client/index.ts';
import { askApproval } from './approval.ts';
import { type Asking, askOnce, cut, textOf, unanswered } from './question.ts';

const host = 'claude-agent-sdk';
/** The longest context. Characters. */
const CONTEXT = 65_536;

/**
 * The `canUseTool` of a query. People answer the questions of AskUserQuestion, and allow or deny other tools; what nobody
 * answers is denied. A call that the SDK drops cancels its questions.
 */
export function canUseTool(client: Forumbus, about: Omit<Asking, 'signal' | 'wait_seconds'> = {}): CanUseTool {
  return async (tool, input, { signal, toolUseID: id, title }) => {
    const asking = { ...about, signal, withdraw: true };
    if (tool !== 'AskUserQuestion') {
      const verdict = await askApproval(client, { host, id, tool, input, title }, asking);
      if (verdict?.approved) return { behavior: 'allow', updatedInput: input };
      return { behavior: 'deny', message: verdict?.reason ?? 'Nobody answered.' };
    }
    const { questions } = input as unknown as AskUserQuestionInput;
    const ended = await Promise.all(
      questions.map((asked, index) => askOnce(client, `${host} ${id} ${index}`, requestOf(asked, id), asking)),
    );
    const answers = Object.fromEntries(
      questions.map(({ question }, index) => [question, outcomeOf(ended[index] as Question)]),
    );
    if (ended.every(({ state }) => state === 'answered')) {
      return { behavior: 'allow', updatedInput: { ...input, answers } };
    }
    const lines = Object.entries(answers).map(([question, outcome]) => `${question} ${outcome}`);
    return { behavior: 'deny', message: lines.join('\n') };
  };
}

function requestOf(asked: AskUserQuestionInput['questions'][number], tool_use_id: string): AskRequest {
  const { question, header, multiSelect } = asked;
  const previews = asked.options.flatMap(({ label, preview }) => (preview ? [`${label}:\n${preview}`] : []));
  return {
    question,
    context: cut([header, ...previews].join('\n\n'), CONTEXT) || 'AskUserQuestion',
    options: asked.options.map(({ label, description }) => ({ label, ...(description && { description }) })),
    multi_select: multiSelect,
    source: { host, tool_use_id },
  };
}

function outcomeOf(question: Question): string {
  return question.state === 'answered' ? textOf(question) : unanswered(question);
}
