import { type Actor, parseActor } from '../actor.ts';
import type { Reader, Tx } from '../db/database.ts';
import type { EventDraft } from '../events/service.ts';
import {
  type ApprovalRow,
  agreeing,
  agreesWith,
  approvalsText,
  isOfPerson,
  missingFor,
  newApproval,
  personOf,
  withApproval,
} from './approvals.ts';
import {
  answerPlaceOf,
  type Caused,
  type GivenAnswer,
  isStoredAnswer,
  needsApprovals,
  type QuestionRow,
  selectedText,
} from './question.ts';
import { deleteApproval, findApprovals, putApproval } from './repository.ts';

/* The stored approvals of questions that two people must answer. */

/** The approvals of these questions by id, oldest first. */
export async function approvalsOf(reader: Reader, questionIds: string[]): Promise<Map<string, ApprovalRow[]>> {
  return Map.groupBy(await findApprovals(reader, questionIds), ({ question_id }) => question_id);
}

async function approvalsOfOne(reader: Reader, { question_id }: QuestionRow): Promise<ApprovalRow[]> {
  return findApprovals(reader, [question_id]);
}

/** For the gate: how far these questions are, by id. Two people must answer each of them. */
export async function standings(reader: Reader, questionIds: string[]): Promise<Map<string, string>> {
  const approvals = await approvalsOf(reader, questionIds);
  return new Map(questionIds.map(id => [id, approvalsText(2, approvals.get(id) ?? [])]));
}

/**
 * The sequence of the signal that has given this answer before. It is the answer, or the current approval of the same
 * person.
 */
export async function givenBefore(
  reader: Reader,
  question: QuestionRow,
  actor: Actor,
  given: GivenAnswer,
): Promise<number | undefined> {
  if (isStoredAnswer(question, given)) return question.answer_sequence ?? undefined;
  if (question.state !== 'open' || !needsApprovals(question) || !isOfPerson(actor, given)) return undefined;
  const person = personOf(actor);
  const own = (await approvalsOfOne(reader, question)).find(approval => approval.person === person);
  const isRepeated = own && agreesWith(own, { answer: given.answer, selected: selectedText(given) });
  return isRepeated ? own.sequence : undefined;
}

const contentOf = (given: GivenAnswer) => ({
  answer: given.answer,
  selected: selectedText(given),
  answered_in: answerPlaceOf(given),
});

/** The approvals of a question that two people must answer, after an event of its control thread. @param standing those before */
export function approvalsAfter(
  standing: readonly ApprovalRow[],
  { payload, actor, occurred_at }: Caused,
  sequence: number,
): readonly ApprovalRow[] {
  if (payload.control_type !== 'guidance_answer') return standing;
  const content = contentOf(payload as unknown as GivenAnswer);
  return withApproval(standing, { ...newApproval(String(payload.question_id), actor, content, occurred_at), sequence });
}

/** Stores the approvals of these questions as the events of an import leave them. */
export async function restoreApprovals(tx: Tx, standing: Map<string, readonly ApprovalRow[]>): Promise<void> {
  const rows = [...standing.values()].flat();
  const isLeft = (one: ApprovalRow) => standing.get(one.question_id)?.some(({ person }) => person === one.person);
  for (const known of await findApprovals(tx, [...standing.keys()])) if (!isLeft(known)) deleteApproval(tx, known);
  for (const row of rows) putApproval(tx, row);
}

/** What an answer changes among the approvals of its question. */
export async function approve(
  tx: Tx,
  question: QuestionRow,
  { actor, occurred_at }: EventDraft,
  given: GivenAnswer,
): Promise<{ missing: number; agreed: Actor[]; store(sequence: number): void }> {
  const before = await approvalsOfOne(tx, question);
  const approval = newApproval(question.question_id, actor, contentOf(given), occurred_at);
  const after = withApproval(before, approval);
  const displaced = before.filter(({ person }) => !after.some(other => other.person === person));
  return {
    /** How many people must still give the same answer as another one. */
    missing: missingFor(question.approvals_required, after),
    /** Who has given this answer. */
    agreed: agreeing(after, approval).map(({ actor }) => parseActor(actor)),
    /** Stores it. @param sequence of the answer's signal */
    store(sequence) {
      for (const oldest of displaced) deleteApproval(tx, oldest);
      putApproval(tx, { ...approval, sequence });
    },
  };
}
