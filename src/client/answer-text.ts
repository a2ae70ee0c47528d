import type { Question } from './types.ts';

/* What answers say, and how many people say the same. */

type Asked = Pick<Question, 'approvals_required' | 'approvals'>;
type Approval = Pick<Question['approvals'][number], 'answer' | 'selected'>;

/**
 * What an answer or a default says: its labels in the given order, and its text if that says more.
 * @param shown the labels as the asker writes them
 */
export function choiceText(text: string | null, labels: readonly string[], shown = labels): string {
  if (labels.length === 0) return text ?? '';
  // The service makes a text out of labels alone, in an order of its own.
  const known = labels.join(', ').split(', ');
  const saysMore = text?.split(', ').some(part => !known.includes(part));
  return shown.join(', ') + (saysMore ? ` (${text})` : '');
}

/** Whether two people have given the same answer. White space around it does not matter, nor does the order of labels. */
function isSame(a: Approval, b: Approval): boolean {
  return a.answer.trim() === b.answer.trim() && a.selected.toSorted().join('\n') === b.selected.toSorted().join('\n');
}

/** How many people have given the same answer to a question so far. */
export function agreed({ approvals = [] }: Asked): number {
  return Math.max(0, ...approvals.map(one => approvals.filter(other => isSame(one, other)).length));
}

/** For people: how far a question is that two people must answer, in one line; empty for others. Names and answers stand in it as they are. */
export function approvalsText(question: Asked): string {
  // A service of an older version says nothing of it.
  const { approvals_required: required = 1, approvals = [] } = question;
  if (required < 2) return '';
  if (approvals.length === 0) return `0 of ${required}: two people must give the same answer`;
  const given = approvals.map(({ answered_by, answer }) => `${answered_by.name} answered “${cut(answer.trim())}”`);
  const same = approvals.length === 1 ? 'the same answer' : 'one of these answers';
  return `${agreed(question)} of ${required}: ${given.join(', ')}; another person must give ${same}`;
}

const cut = (text: string) => (text.length <= 60 ? text : `${text.slice(0, 59).toWellFormed()}…`);
