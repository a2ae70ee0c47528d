import { acknowledgeAll, askPeople, toolCallOf } from './ask.ts';
import { askedIn, hostValue } from './asked.ts';
import { answerFact } from './facts.ts';
import type { HookInput, Reply, Station } from './hook.ts';

/**
 * Answers a host's own question tool where only a refusal of the call can carry a text. The reason is the answer.
 * @param shape the host's refusal with this reason
 */
export async function denyWithAnswer(
  input: HookInput,
  station: Station,
  shape: (reason: string) => object,
): Promise<Reply> {
  const asked = askedIn(input.tool_input);
  if (!asked) return {};
  const requests = asked.map(({ request }) => request);
  const answered = await askPeople(requests, toolCallOf(input, station), station);
  if (!answered) return {};
  const facts = answered.map((question, index) => {
    const one = asked[index];
    const fact = answerFact(question, one && hostValue(one, question));
    return asked.length > 1 ? `${fact} (question: ${question.question})` : fact;
  });
  return { output: shape(facts.join('\n')), delivered: () => acknowledgeAll(answered, station) };
}
