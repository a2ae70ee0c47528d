import { choiceText, type InboxItem, type Question } from '../client/index.ts';
import { quoted } from '../printable.ts';
import { cut } from '../text.ts';

/* Facts, not orders: a host may take an order in a context for an attack. */

/** What was answered. @param labels how the asker writes them */
export function shownAnswer({ answer, selected }: Question, labels?: readonly string[]): string {
  return choiceText(answer, selected, labels);
}

/** An answer as a fact, such as `Answer to q_12 by ana: Option B`. */
export function answerFact(question: Question, value = shownAnswer(question)): string {
  const { question_id, answered_by } = question;
  return `Answer to ${question_id} by ${quoted(answered_by?.name ?? 'somebody')}: ${quoted(value)}`;
}

/** News of the inbox as a fact. */
export function factOf({ kind, question, post }: InboxItem): string {
  if (post) return `Message from ${quoted(post.actor.name)}: ${quoted(post.body)}`;
  if (!question) return '';
  const { question_id, default_applied, default_answer, default_selected } = question;
  const asked = ` (question: ${quoted(cut(question.question, 200))})`;
  if (kind === 'answered') return answerFact(question) + asked;
  if (kind === 'cancelled') return `Question ${question_id} was cancelled: nobody will answer it${asked}`;
  if (!default_applied) return `Question ${question_id} expired: nobody answered it${asked}`;
  const fallback = choiceText(default_answer, default_selected);
  return `Question ${question_id} expired, so its default holds: ${quoted(fallback)}${asked}`;
}
