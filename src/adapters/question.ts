import { type AskRequest, askKey, type Forumbus, type Question, type WaitOptions } from '../client/index.ts';

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
  const ask = (options: WaitOptions) => client.ask({ ...about, ...request, attempt }, { ...options, idempotency_key });
  const cancel = async () => client.cancel((await ask({ wait_seconds: 0 })).question_id);
  try {
    return await ask({ wait_seconds, signal });
  } catch (error) {
    // A refusal says that it has ended.
    if (withdraw && signal?.aborted) await cancel().catch(() => {});
    throw error;
  }
}

/** The answer: the labels in the order of the options, and what else the person wrote. */
export function textOf({ options, selected, answer }: Question): string {
  const labels = options
    .map(({ label }) => label)
    .filter(label => selected.includes(label))
    .join(', ');
  const isLabels = answer === selected.toSorted().join(', ');
  return isLabels || answer === null ? labels : [labels, answer].filter(text => text !== '').join(': ');
}

/** The beginning of a text; a character that is cut in two is replaced. */
export function cut(text: string, length: number): string {
  return text.slice(0, length).toWellFormed();
}

/** Why a question has no answer. */
export function unanswered({ state, question_id }: Question): string {
  return `${state === 'expired' ? 'Nobody answered in time' : 'The question was withdrawn'} (${question_id}).`;
}

/** Stores keep no order of keys; the same value has the same text. */
export function jsonOf(value: unknown): string {
  const isPlain = (given: unknown) => typeof given === 'object' && given !== null && !Array.isArray(given);
  const sorted = (_: string, given: object) =>
    isPlain(given) ? Object.fromEntries(Object.entries(given).sort(([one], [other]) => (one < other ? -1 : 1))) : given;
  return JSON.stringify(value, sorted, 2) ?? 'nothing';
}
