import type { Question } from '../client/index.ts';
import { type Context, UsageError } from './command.ts';

/** The questions of the last list, so that a person can name one by its number. */
interface Numbers {
  url: string;
  question_ids: string[];
}

const FILE = 'last-list.json';

export function numberQuestions({ state, identity }: Context, questions: readonly Question[]): void {
  const numbers: Numbers = { url: identity.url, question_ids: questions.map(({ question_id }) => question_id) };
  state.write(FILE, numbers);
}

/** The id of a question that is given by id or by its number in the last list. @throws UsageError */
export function questionId({ state, identity }: Context, given: string): string {
  if (!/^\d{1,4}$/.test(given)) return given;
  const numbers = state.read<Numbers>(FILE);
  const found = numbers?.url === identity.url ? numbers.question_ids[Number(given) - 1] : undefined;
  if (found === undefined)
    throw new UsageError(`There is no number ${given} in the last list; see \`forumbus inbox\`.`);
  return found;
}
