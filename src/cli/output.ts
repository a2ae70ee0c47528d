import { agreed, approvalsText, choiceText } from '../client/answer-text.ts';
import type { Question } from '../client/index.ts';
import { printable } from '../printable.ts';
import { exits, UsageError } from './command.ts';

/** Resolves once a text is written; a slow reader holds it back. @throws UsageError if nobody can read it */
export function written(stream: NodeJS.WritableStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, error => {
      if (!error) return resolve();
      reject(new UsageError(`The output cannot be written (${(error as NodeJS.ErrnoException).code}).`));
    });
  });
}

/** A stored text on one line: line breaks and tabs as escapes, and nothing that steers a terminal. */
export function oneLine(text: string): string {
  return printable(text.replaceAll(/\r\n|[\r\n]/g, '\\n').replaceAll('\t', '\\t'));
}

/** The beginning of a text on one line, at most `length` characters. */
export function head(text: string, length: number): string {
  const line = oneLine(text);
  return line.length <= length ? line : `${line.slice(0, length - 1).toWellFormed()}…`;
}

/** The outcome of a question for an agent: the bare answer, or what else has become of it. */
export function outcomeText(question: Question): string {
  const { state, question_id } = question;
  switch (state) {
    case 'answered':
      return oneLine(choiceText(question.answer, question.selected));
    case 'expired': {
      const fallback = oneLine(choiceText(question.default_answer, question.default_selected));
      return fallback === '' ? `expired: nobody answered ${question_id}` : `expired, so the default holds: ${fallback}`;
    }
    case 'cancelled':
    case 'superseded':
      return `${state}: ${question_id} will not be answered`;
    case 'open':
      return `open: ${peopleText(question)} ${question_id} yet; repeat the command to go on waiting`;
  }
}

/** An agent is told how many people have answered, and not what, since one answer of two is none. */
function peopleText(question: Question): string {
  const given = agreed(question);
  return given === 0 ? 'nobody has answered' : `only ${given} of ${question.approvals_required} people agree on`;
}

/** How far a question is that two people must answer, on one line; empty for others. */
export function standingText(question: Question): string {
  return oneLine(approvalsText(question));
}

export function outcomeCode({ state }: Question): number {
  if (state === 'answered') return exits.done;
  if (state === 'expired') return exits.expired;
  return state === 'open' ? exits.open : exits.ended;
}

/** The parts of a question that its outcome is made of. */
export function outcomeOf(question: Question) {
  const { question_id, state, answer, selected, answered_by, default_applied, default_answer, default_selected } =
    question;
  const fallback = default_applied ? { default_answer, default_selected } : {};
  const { approvals_required, approvals } = question;
  const people = approvals_required > 1 ? { approvals_required, approvals } : {};
  return { question_id, state, answer, selected, answered_by, default_applied, ...fallback, ...people };
}

/** A question for people on one line, without its number. */
export function questionLine(asked: Question): string {
  const { agent_name, run_id, question, options, priority, asked_at } = asked;
  const choice = options.length === 0 ? '' : `  [${options.map(({ label }) => head(label, 60)).join(' | ')}]`;
  const urgency = priority === 'normal' ? '' : `${priority}  `;
  const people = standingText(asked);
  return `${urgency}${head(agent_name, 40)} in ${head(run_id, 60)}, ${ageOf(asked_at)}: ${head(question, 200)}${choice}${people === '' ? '' : `  (${people})`}`;
}

function ageOf(at: string): string {
  const minutes = Math.max(0, Math.floor((Date.now() - Date.parse(at)) / 60_000));
  if (minutes < 60) return `${minutes}m`;
  return minutes < 1440 ? `${Math.floor(minutes / 60)}h` : `${Math.floor(minutes / 1440)}d`;
}
