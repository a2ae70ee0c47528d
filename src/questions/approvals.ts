import { type Actor, actorText, parseActor } from '../actor.ts';
import { toTimestamp } from '../clock.ts';
import type { Row } from '../db/schema.ts';
import { Refusal } from '../errors.ts';
import { foldName } from '../fold-name.ts';
import { cut } from '../text.ts';
import { isPerson } from '../threads/thread.ts';
import type { Defaulted, GivenAnswer, QuestionRow } from './question.ts';
import { type Approval, unprovenPlaces } from './schemas.ts';

/* Questions that two people must answer: each answer is an approval until two people have given the same one. */

/** An approval as stored. */
export type ApprovalRow = Row<'question_approvals'>;

/** The most approvals of one question that stand; the oldest one makes room for another person's. */
const STANDING = 10;

/** By what people are told apart: an operator and a human of one name are one person. */
export function personOf({ name }: Actor): string {
  return foldName(name);
}

/**
 * Why an answer counts for no person, in the middle of a sentence; undefined if it does. Without this check one person
 * could answer twice, by a button of an own webhook or a command in any name.
 */
function doubtAbout(actor: Actor, { answered_in, isMessage }: GivenAnswer): string | undefined {
  if (isMessage) return 'a message does not prove who sent it';
  if (unprovenPlaces.includes(answered_in)) return 'a link or button does not prove who used it';
  if (answered_in === 'terminal') return 'an agent passes on what is answered in its terminal';
  return isPerson(actor) ? undefined : `${actor.name} acts as ${actor.type}`;
}

export function isOfPerson(actor: Actor, given: GivenAnswer): boolean {
  return doubtAbout(actor, given) === undefined;
}

/** @throws Refusal FORBIDDEN if the answer cannot be told from one of another person */
export function assertOfPerson(actor: Actor, given: GivenAnswer): void {
  const doubt = doubtAbout(actor, given);
  if (doubt === undefined) return;
  throw new Refusal('FORBIDDEN', `Two people must answer this question, each in their own name; ${doubt}.`);
}

/** @throws Refusal VALIDATION_FAILED for a default, which would stand in although nobody has approved it */
export function assertNoDefault(request: Pick<Defaulted, 'default_answer' | 'default_selected'>): void {
  const name = (['default_answer', 'default_selected'] as const).find(name => request[name] !== undefined);
  if (name === undefined) return;
  const detail = 'is not allowed for a question that two people must answer';
  throw new Refusal('VALIDATION_FAILED', `body/${name}: ${detail}`, {
    errors: [{ in: 'body', pointer: `/${name}`, code: 'INVALID', detail }],
  });
}

/** Whether two people, or one twice, have given the same answer. White space around it does not matter. */
export function agreesWith(a: Said, b: Said): boolean {
  return a.answer?.trim() === b.answer?.trim() && a.selected === b.selected;
}

/** What an answer says; null before a question has one. */
type Said = Pick<QuestionRow, 'answer' | 'selected'>;

/**
 * The approvals after another one, oldest first. It replaces an earlier one of its person, or the oldest if there are
 * too many.
 * @param standing oldest first
 */
export function withApproval(standing: readonly ApprovalRow[], approval: ApprovalRow): ApprovalRow[] {
  return [...standing.filter(({ person }) => person !== approval.person), approval].slice(-STANDING);
}

/** The approvals that give this answer. */
export function agreeing(standing: readonly ApprovalRow[], answer: Pick<ApprovalRow, 'answer' | 'selected'>) {
  return standing.filter(other => agreesWith(other, answer));
}

/** How many people are missing until the question is answered. @param standing the approvals of an open question */
export function missingFor(required: number, standing: readonly ApprovalRow[]): number {
  return required - Math.max(0, ...standing.map(approval => agreeing(standing, approval).length));
}

/** The wire form of an approval. @param isErasing whether the texts of its run are being erased */
export function toApproval(
  { actor, answer, selected, answered_in, approved_at }: ApprovalRow,
  isErasing: boolean,
): Approval {
  return {
    answered_by: parseActor(actor),
    answer: isErasing ? '' : answer,
    selected: isErasing ? [] : JSON.parse(selected),
    answered_in,
    approved_at: toTimestamp(approved_at),
  };
}

/** The approval that an answer is, before its event has a sequence. */
export function newApproval(
  question_id: string,
  actor: Actor,
  given: { answer: string; selected: string; answered_in: string },
  approved_at: number,
): ApprovalRow {
  return { question_id, person: personOf(actor), actor: actorText(actor), ...given, sequence: 0, approved_at };
}

/** The gate names a hundred questions, each with up to ten people: long names are cut. UTF-16 units. */
const TEXT_UNITS = 200;

/** What the gate says of a question that waits for two people: `1 of 2, missing: one more person other than ana`. */
export function approvalsText(required: number, standing: readonly ApprovalRow[]): string {
  return cut(standingText(required, standing), TEXT_UNITS);
}

function standingText(required: number, standing: readonly ApprovalRow[]): string {
  const missing = missingFor(required, standing);
  const names = standing.map(({ actor }) => parseActor(actor).name);
  const [last] = names.slice(-1);
  if (last === undefined) return `0 of ${required}, missing: two people`;
  const given = `${required - missing} of ${required}, missing: one more person`;
  if (names.length === 1) return `${given} other than ${last}`;
  return `${given} who agrees with one of ${names.slice(0, -1).join(', ')} and ${last}`;
}
