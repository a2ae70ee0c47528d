import { userInfo } from 'node:os';
import type { Actor, AnswerRequest, Question } from '../client/index.ts';
import { type Context, defineCommand, exits, UsageError } from './command.ts';
import { drain } from './deliver.ts';
import { questionId } from './numbers.ts';
import { head, oneLine, outcomeText, standingText } from './output.ts';

export const command = defineCommand({
  name: 'answer',
  summary: 'Answer a question, by the number or label of an option or by text',
  usage: 'QUESTION [ANSWER...] [--text TEXT]',
  counts: { least: 1, most: 11 },
  options: { text: { type: 'string' } },
  help: `QUESTION is an id, or a number of the last \`forumbus inbox\` in this terminal. ANSWER is the number or the label of an
option, or any text. A question that takes several options takes several answers.
  --text TEXT    a text beside the options, or instead of one`,
  async run(context, [given = '', ...answers], values) {
    if (answers.length === 0 && values.text === undefined)
      throw new UsageError('The answer is missing: forumbus answer 1 "Use Europe.".');
    await drain(context);
    const question = await context.client.question(questionId(context, given));
    const request = answerOf(question, answers, values.text);
    const answered = await sendAnswer(context, question.question_id, request);
    const { question_id, state } = answered;
    const asked = `${question_id} "${head(answered.question, 60)}"`;
    const said =
      state === 'open'
        ? `Taken for ${asked}, ${standingText(answered)}`
        : `Answered ${asked}: ${outcomeText(answered)}`;
    await context.print(said, answered);
    return exits.done;
  },
});

export function sendAnswer(
  { client, identity }: Context,
  question_id: string,
  request: AnswerRequest,
): Promise<Question> {
  // A token has an actor of its own.
  const actor: Actor | undefined = identity.token === undefined ? { type: 'human', name: userName() } : undefined;
  return client.answer(question_id, { ...request, answered_in: 'cli', ...(actor && { actor }) });
}

/** What a person means by numbers, labels or text. @throws UsageError */
export function answerOf({ options, multi_select }: Question, given: readonly string[], text?: string): AnswerRequest {
  const labels = options.map(({ label }) => label);
  const chosen = given.map(one => labelOf(labels, one));
  const selected = chosen.filter(label => label !== undefined);
  if (given.length > 0 && selected.length === given.length && (multi_select || selected.length === 1)) {
    return { selected: [...new Set(selected)], ...(text !== undefined && { answer: text }) };
  }
  if (given.length > 1 && labels.length > 0) {
    const choice = labels.map(oneLine).join(', ');
    throw new UsageError(
      `${multi_select ? 'Choose among' : 'Choose one of'} these options, or give one text: ${choice}.`,
    );
  }
  const [only = ''] = given;
  if (labels.length > 0 && /^\d{1,2}$/.test(only)) {
    throw new UsageError(`The question has ${labels.length} options; a text that is a number goes into --text.`);
  }
  return { answer: [given.join(' '), text ?? ''].filter(part => part !== '').join(' ') };
}

function labelOf(labels: readonly string[], given: string): string | undefined {
  const wanted = given.trim().normalize('NFC');
  if (labels.includes(wanted)) return wanted;
  const alike = labels.filter(label => label.toLowerCase() === wanted.toLowerCase());
  if (alike.length === 1) return alike[0];
  return /^[1-9]\d?$/.test(wanted) ? labels[Number(wanted) - 1] : undefined;
}

function userName(): string {
  try {
    return userInfo().username || 'operator';
  } catch {
    return 'operator';
  }
}
