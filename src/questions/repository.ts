import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { erasing } from '../db/erasing.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import { upsert } from '../db/upsert.ts';
import { HEAD_CHARACTERS, headOf } from '../events/heads.ts';
import type { Event } from '../events/schemas.ts';
import type { ApprovalRow } from './approvals.ts';
import type { QuestionRow } from './question.ts';

/** Columns that never change. */
const asked = [
  'question_id',
  'thread_id',
  'run_id',
  'agent_name',
  'priority',
  'asked_sequence',
  'asked_at',
  'expires_at',
  'has_default',
  'supersedes',
  'ticket',
  'remind_at',
  'approvals_required',
] as const;

/** Columns that change when a question ends or is acknowledged. */
const outcome = [
  'state',
  'phase',
  'answer_sequence',
  'answer',
  'selected',
  'answered_by',
  'answered_at',
  'answered_in',
  'default_applied',
  'acknowledged_at',
  'version',
] as const;

const isErasing = erasing('questions.run_id').as('erasing');

export async function findQuestion(reader: Reader, questionId: string): Promise<QuestionRow | undefined> {
  return reader.first(findQuestionStatement, { question_id: questionId });
}

const findQuestionStatement = statement(({ query, value }: StatementBuilder<Pick<QuestionRow, 'question_id'>>) =>
  query.selectFrom('questions').selectAll().select(isErasing).where('question_id', '=', value('question_id')),
);

/** Most urgent first, then oldest first. */
export async function listQuestionsById(reader: Reader, questionIds: string[]): Promise<QuestionRow[]> {
  if (questionIds.length === 0) return [];
  const query = reader.query.selectFrom('questions').selectAll().select(isErasing);
  const found = query.where('question_id', 'in', questionIds);
  return found.orderBy('priority').orderBy('asked_sequence').execute();
}

/** Ids of open questions that are to be called to mind, the longest overdue first. */
export async function listToRemind(reader: Reader, now: number, limit: number): Promise<string[]> {
  const rows = await reader.query
    .selectFrom('questions')
    .select('question_id')
    .where('remind_at', 'is not', null)
    .where('remind_at', '<=', now)
    .orderBy('remind_at')
    .limit(limit)
    .execute();
  return rows.map(row => row.question_id);
}

/** Notes that these questions were called to mind, or need not be. */
export async function clearReminders(tx: Tx, questionIds: string[]): Promise<void> {
  await tx.query.updateTable('questions').set({ remind_at: null }).where('question_id', 'in', questionIds).execute();
}

/** Ids of open questions past their expiry, the longest overdue first. */
export async function listOverdue(reader: Reader, now: number, limit: number): Promise<string[]> {
  const rows = await reader.query
    .selectFrom('questions')
    .select('question_id')
    .where('state', '=', sql.lit('open'))
    .where('expires_at', '<=', now)
    .orderBy('expires_at')
    .limit(limit)
    .execute();
  return rows.map(row => row.question_id);
}

/** How many questions are open, and when the oldest was asked (epoch milliseconds). */
export async function countOpen(reader: Reader): Promise<{ count: number; oldest: number | null }> {
  return (
    reader.query
      .selectFrom('questions')
      .select(eb => [eb.fn.countAll<number>().as('count'), eb.fn.min('asked_at').as('oldest')])
      // As the index spells it.
      .where(sql<number>`phase + 0`, '=', sql.lit(0))
      .executeTakeFirstOrThrow()
  );
}

/** Counts open questions by priority rank, with the time of the oldest (epoch milliseconds). */
export async function countOpenByPriority(
  reader: Reader,
): Promise<{ priority: number; count: number; oldest: number }[]> {
  return reader.query
    .selectFrom('questions')
    .select(eb => ['priority', eb.fn.countAll<number>().as('count'), eb.fn.min('asked_at').as('oldest')])
    .where(sql<number>`phase + 0`, '=', sql.lit(0))
    .groupBy('priority')
    .execute();
}

export function insertQuestion(tx: Tx, row: QuestionRow): void {
  tx.send(insertQuestionStatement, row);
}

const insertQuestionStatement = statement(({ query, values }: StatementBuilder<QuestionRow>) =>
  query.insertInto('questions').values(values([...asked, ...outcome])),
);

/** Updates the columns that can change. */
export function updateQuestion(tx: Tx, row: QuestionRow): void {
  tx.send(updateQuestionStatement, row);
}

const updateQuestionStatement = statement(({ query, value, values }: StatementBuilder<QuestionRow>) =>
  query.updateTable('questions').set(values(outcome)).where('question_id', '=', value('question_id')),
);

type AskedAt = Pick<QuestionRow, 'asked_sequence'>;

/**
 * Reads the heads (see `headOf`) of what these questions ask, for their events. The database cuts the texts, since a
 * transaction that ends many questions would otherwise read all their contexts.
 */
export async function askedHeads(tx: Tx, questions: AskedAt[]): Promise<(question: AskedAt) => Event['payload']> {
  if (questions.length === 0) return () => ({});
  const sequences = JSON.stringify(questions.map(({ asked_sequence }) => asked_sequence));
  const rows = await tx.all(askedHeadsStatement, { sequences });
  const heads = new Map(
    rows.map(({ sequence, options, default_selected, source, ...texts }) => {
      const lists = { options: JSON.parse(options ?? '[]'), default_selected: JSON.parse(default_selected ?? '[]') };
      return [sequence, headOf({ ...texts, ...lists, source: JSON.parse(source ?? 'null') })];
    }),
  );
  return ({ asked_sequence }) => heads.get(asked_sequence) ?? {};
}

const askedHeadsStatement = statement(
  ({ query, integerElements, member, among }: StatementBuilder<{ sequences: string }>) => {
    const payload = sql.ref('payload');
    const start = (name: string) =>
      sql<string | null>`substr(${member(payload, name)}, 1, ${sql.lit(HEAD_CHARACTERS + 1)})`;
    return query
      .selectFrom('events')
      .select('sequence')
      .select([start('question').as('question'), start('default_answer').as('default_answer')])
      .select([
        sql<string | null>`${member(payload, 'options')}`.as('options'),
        sql<string | null>`${member(payload, 'default_selected')}`.as('default_selected'),
        sql<string | null>`${member(payload, 'source')}`.as('source'),
      ])
      .where(among('sequence', integerElements('sequences')))
      .where(erasing('events.run_id'), '=', sql.lit(0));
  },
);

/** Empties the answers of these questions. */
export function eraseAnswers(tx: Tx, questionIds: string[]): void {
  if (questionIds.length > 0) tx.send(eraseAnswersStatement, { ids: JSON.stringify(questionIds) });
}

const eraseAnswersStatement = statement(({ query, among, textElements }: StatementBuilder<{ ids: string }>) =>
  query
    .updateTable('questions')
    .set({ answer: sql.lit(''), selected: sql.lit('[]') })
    .where(among('question_id', textElements('ids')))
    .where('answer', 'is not', null),
);

/** The approvals of these questions, oldest first. */
export async function findApprovals(reader: Reader, questionIds: string[]): Promise<ApprovalRow[]> {
  if (questionIds.length === 0) return [];
  const rows = await reader.all(findApprovalsStatement, { ids: JSON.stringify(questionIds) });
  return rows.sort((a, b) => a.sequence - b.sequence);
}

const findApprovalsStatement = statement(({ query, among, textElements }: StatementBuilder<{ ids: string }>) =>
  query
    .selectFrom('question_approvals')
    .selectAll()
    .where(among('question_id', textElements('ids'))),
);

/** Stores an approval in the place of an earlier one of its person. */
export function putApproval(tx: Tx, row: ApprovalRow): void {
  tx.send(putApprovalStatement, row);
}

const replaced = ['actor', 'answer', 'selected', 'answered_in', 'sequence', 'approved_at'] as const;

const putApprovalStatement = statement(({ query, values }: StatementBuilder<ApprovalRow>) =>
  query
    .insertInto('question_approvals')
    .values(values(['question_id', 'person', ...replaced]))
    .onConflict(conflict => conflict.columns(['question_id', 'person']).doUpdateSet(values(replaced))),
);

/** Removes the approval of a person. */
export function deleteApproval(tx: Tx, { question_id, person }: ApprovalRow): void {
  tx.send(deleteApprovalStatement, { question_id, person });
}

const deleteApprovalStatement = statement(
  ({ query, value }: StatementBuilder<Pick<ApprovalRow, 'question_id' | 'person'>>) =>
    query
      .deleteFrom('question_approvals')
      .where('question_id', '=', value('question_id'))
      .where('person', '=', value('person')),
);

/** Empties the approvals of these questions. */
export function eraseApprovals(tx: Tx, questionIds: string[]): void {
  if (questionIds.length > 0) tx.send(eraseApprovalsStatement, { ids: JSON.stringify(questionIds) });
}

const eraseApprovalsStatement = statement(({ query, among, textElements }: StatementBuilder<{ ids: string }>) =>
  query
    .updateTable('question_approvals')
    .set({ answer: sql.lit(''), selected: sql.lit('[]') })
    .where(among('question_id', textElements('ids'))),
);

/** Stores these questions, new ones and known ones. */
export async function storeQuestions(tx: Tx, rows: readonly QuestionRow[]): Promise<void> {
  await tx.run(storeQuestionsStatement, { rows: JSON.stringify(rows) });
}

const storeQuestionsStatement = upsert('questions', ['question_id'], {
  ...({ question_id: 'text', thread_id: 'text', run_id: 'text', agent_name: 'text', state: 'text' } as const),
  ...({ priority: 'integer', asked_sequence: 'integer', asked_at: 'integer', expires_at: 'integer' } as const),
  ...({ has_default: 'integer', supersedes: 'text', answer_sequence: 'integer', answer: 'text' } as const),
  ...({ selected: 'text', answered_by: 'text', answered_at: 'integer', answered_in: 'text', ticket: 'text' } as const),
  ...({ phase: 'integer', default_applied: 'integer', acknowledged_at: 'integer', remind_at: 'integer' } as const),
  ...({ version: 'integer', approvals_required: 'integer' } as const),
});
