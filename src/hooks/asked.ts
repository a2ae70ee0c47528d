import type { AskRequest, Question } from '../client/index.ts';
import { cut, isName, isVisible, normalName } from '../text.ts';
import { shownAnswer } from './facts.ts';
import { fieldsOf, textOf } from './hook.ts';

/** A question of a host's own tool. */
export interface Asked {
  question: string;
  /** The labels of its options as the host writes them; empty if it has none. */
  labels: string[];
  /** The question as it is sent to the service. */
  request: AskRequest;
}

/** No host asks so many at once: Claude Code and Codex four, Gemini CLI as many. */
const MOST = 20;
const LENGTHS = { question: 16_384, description: 2048, label: 200, context: 65_536 };

/**
 * The questions in the input of a host's tool. Claude Code, Codex and Gemini CLI each write them a little differently.
 * @returns undefined if there are none, more than hosts ask, or one that must not leave the machine
 */
export function askedIn(tool_input: unknown): Asked[] | undefined {
  const { questions } = fieldsOf(tool_input);
  if (!Array.isArray(questions) || questions.length === 0 || questions.length > MOST) return undefined;
  const asked = questions.map(askedOf);
  return asked.every(one => one !== undefined) ? asked : undefined;
}

function askedOf(given: unknown): Asked | undefined {
  const { question, title, header, options, multiSelect, isSecret, type } = fieldsOf(given);
  const text = textOf(question) ?? textOf(title);
  if (text === undefined || !isVisible(text) || isSecret === true) return undefined;
  const choices = type === 'yesno' ? [{ label: 'Yes' }, { label: 'No' }] : Array.isArray(options) ? options : [];
  const offered = choices.map(choice => (typeof choice === 'string' ? { label: choice } : fieldsOf(choice)));
  const labels = offered.flatMap(({ label }) => textOf(label) ?? []);
  const fits = labels.length === offered.length && areOptions(labels);
  const about = [textOf(header), ...(fits ? [] : labels.map(label => `- ${label}`))].filter(line => line !== undefined);
  const context = about.join('\n');
  const request: AskRequest = {
    question: sentText(text, LENGTHS.question),
    ...(isVisible(context) && { context: sentText(context, LENGTHS.context) }),
    ...(fits && {
      options: offered.map(({ label, description }) => ({
        label: String(label),
        ...(isVisible(textOf(description) ?? '') && {
          description: sentText(String(description), LENGTHS.description),
        }),
      })),
      ...(multiSelect === true && { multi_select: true }),
    }),
  };
  return { question: text, labels: fits ? labels : [], request };
}

/** Whether the service takes these labels as options: names that are not the same. */
function areOptions(labels: string[]): boolean {
  const names = labels.map(normalName);
  const areNames = names.every(name => isName(name) && name.length <= LENGTHS.label);
  return areNames && names.length >= 2 && names.length <= 10 && new Set(names).size === names.length;
}

/** A text of a host as the service takes it: not too long, without NUL and unpaired surrogates. */
export function sentText(text: string, length: number): string {
  return cut(text.toWellFormed().replaceAll('\0', '\ufffd'), length);
}

/** The answer to a question in the host's words: several labels are joined as its terminal joins them. */
export function hostValue({ labels }: Asked, answered: Question): string {
  // The service stores names normalised, in the same order.
  const chosen = answered.options.flatMap(({ label }, index) =>
    answered.selected.includes(label) ? [labels[index] ?? label] : [],
  );
  return shownAnswer(answered, chosen);
}

/** What a value of the host's terminal selects. */
export function selectedIn({ labels }: Asked, value: string): string[] {
  if (labels.includes(value)) return [value];
  const parts = value.split(', ');
  return parts.every(part => labels.includes(part)) ? [...new Set(parts)] : [];
}
