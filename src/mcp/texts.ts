import type { Actor } from '../actor.ts';
import { agreed, choiceText } from '../client/answer-text.ts';
import type { InboxItem } from '../inbox/schemas.ts';
import { quoted } from '../printable.ts';
import type { Question } from '../questions/schemas.ts';
import { cut } from '../text.ts';

/*
 * What tools say. A model pays for each word, in every turn that follows; so an answer costs at most 40 tokens beside the
 * answer itself.
 */

/** A text on one line, without characters that move the cursor or turn the direction of writing. */
export function line(text: string, length: number): string {
  return cut(text.replaceAll(/[\p{Cc}\p{White_Space}\p{Bidi_Control}]+/gu, ' ').trim(), length);
}

/** A duration in its largest unit, such as `2 min`. @param milliseconds negative counts as zero */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}

/** The outcome of a question that has ended. */
export function outcome(question: Question): string {
  const { state, answered_by } = question;
  switch (state) {
    case 'answered':
      return `Answered by ${nameOf(answered_by)}: ${quoted(choiceText(question.answer, question.selected))}`;
    case 'expired':
      return question.default_applied
        ? `Expired, nobody answered; your default applies: ${quoted(choiceText(question.default_answer, question.default_selected))}`
        : 'Expired: nobody answered, and it has no default. To ask again, use other words.';
    case 'cancelled':
      return 'Cancelled: no answer will come.';
    case 'superseded':
      return 'Superseded by a later question of yours: no answer will come.';
    default:
      return 'Open.';
  }
}

/** A question that is still open, and what to do. @param now epoch milliseconds */
export function pending(question: Question, now: number): string {
  const { question_id, asked_at, approvals_required } = question;
  const age = duration(now - Date.parse(asked_at));
  // Not what they have said: one answer of two is none.
  const given = agreed(question);
  const people = given === 0 ? 'nobody has answered' : `only ${given} of ${approvals_required} people agree on`;
  return (
    `Pending: ${people} ${question_id} yet (asked ${age} ago). Call wait with this question_id to go on ` +
    'waiting, or do other work first. Do not invent an answer.'
  );
}

/** Stands behind a result while the inbox of the agent has something else. */
export const NEWS_HINT = '\nYou have other news: call wait without question_id.';

/** Of a question, enough to recognise it. Characters. */
const HEAD = 50;

/** An item of the inbox: what became of which question, or what a person says. */
export function news({ question, post }: InboxItem): string {
  if (question) return `${question.question_id} (${line(question.question, HEAD)}): ${outcome(question)}`;
  return `Message from ${nameOf(post?.actor ?? null)}: ${quoted(post?.body ?? '')}`;
}

function nameOf(actor: Actor | null): string {
  return quoted(actor?.name ?? 'somebody');
}
