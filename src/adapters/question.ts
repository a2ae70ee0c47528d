import type { AskRequest, Forumbus, Question, WaitOptions } from '../client/index.ts';
import { askKey, choiceText } from '../client/index.ts';

/* What the adapters share, and what an adapter of another framework needs. */

/** How the questions of an adapter are asked. With `withdraw`, an abort of `signal` cancels them. */
export type Asking = WaitOptions &
  Pick<AskRequest, 'expires_in_seconds' | 'priority' | 'ticket'> & { withdraw?: boolean };

/**
 * Asks, or finds the question that was asked under this id in the agent's attempt, and waits for its end. With `withdraw`,
 * an abort cancels it.
 */
export async function askOnce(
  client: Forumbus,
  id: string,
  request: AskRequest,
  asking: Asking = {},
): Promise<Question> {
  const { wait_seconds, signal, withdraw, ...about } = asking;
  const attempt = (await client.status({ signal }))?.attempt ?? 1;
  const { run_id = '', agent_name = '' } = client;
  const idempotency_key = await askKey({ run_id, agent_name, attempt, question: id });
  const is_same = (asked: Question) => request.source?.tool_use_id !== undefined && callOf(asked) === callOf(request);
  const ask = (options: WaitOptions) =>
    client.ask({ ...about, ...request, attempt }, { ...options, idempotency_key, is_same });
  const cancel = async () => client.cancel((await ask({ wait_seconds: 0 })).question_id);
  try {
    return await ask({ wait_seconds, signal });
  } catch (error) {
    // A refusal says that it has ended.
    if (withdraw && signal?.aborted) await cancel().catch(() => {});
    throw error;
  }
}

/** The same for the question of a call and its request. A model may use an id twice, so the texts count as well. */
function callOf({ source, question, context }: AskRequest | Question): string {
  return JSON.stringify([source?.host, source?.tool_use_id, question, context ?? null]);
}

/** The answer: the labels in the order of the options, and what else the person wrote. */
export function textOf({ options, selected, answer }: Question): string {
  const labels = options.map(({ label }) => label).filter(label => selected.includes(label));
  return choiceText(answer, labels);
}

/** The beginning of a text; a character that is cut in two is replaced. */
export function cut(text: string, length: number): string {
  return text.slice(0, length).toWellFormed();
}

/** Why a question has no answer. */
export function unanswered({ state, question_id }: Question): string {
  return `${state === 'expired' ? 'Nobody answered in time' : 'The question was withdrawn'} (${question_id}).`;
}
