import { createHash } from 'node:crypto';
import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Question } from '../client/index.ts';
import { type Context, UsageError } from './command.ts';
import { faultText } from './fault-text.ts';
import { hostProcess } from './host-process.ts';

/** The questions of the last list, so that a person can name one by its number. */
interface Numbers {
  url: string;
  question_ids: string[];
}

const FOLDER = 'lists';

/** Numbers questions for this terminal. @returns what names each; its id where the numbers cannot be kept */
export function numberQuestions({ state, identity, tell }: Context, questions: readonly Question[]): string[] {
  const question_ids = questions.map(({ question_id }) => question_id);
  try {
    state.write(fileName(), { url: identity.url, question_ids } satisfies Numbers);
    state.clean(FOLDER);
  } catch (error) {
    tell(`There are ids in the place of numbers: ${faultText(error)}`);
    return question_ids;
  }
  return question_ids.map((_id, index) => String(index + 1));
}

/** The id of a question that is given by id or by its number in the last list. @throws UsageError */
export function questionId({ state, identity }: Context, given: string): string {
  if (!/^\d{1,4}$/.test(given)) return given;
  const numbers = state.read<Partial<Numbers>>(fileName());
  const found = numbers?.url === identity.url ? numbers.question_ids?.[Number(given) - 1] : undefined;
  if (found === undefined)
    throw new UsageError(`There is no number ${given} in the last list; see \`forumbus inbox\`.`);
  return found;
}

/** A list of its own for each terminal: a number means what its reader has seen. */
function fileName(): string {
  return `${FOLDER}/${createHash('sha256').update(terminal()).digest('hex').slice(0, 32)}.json`;
}

/** The terminal of this process; without one, the program that runs it, such as an agent's host. */
function terminal(): string {
  const descriptor = [0, 1, 2].find(isatty);
  return JSON.stringify(descriptor === undefined ? (hostProcess() ?? process.ppid) : fstatSync(descriptor).rdev);
}
