import { type Clock, toTimestampOrNull } from '../clock.ts';
import { EMBEDDED } from '../control/service.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import type { EventLog } from '../events/service.ts';
import { type Priority, priorityAt } from '../priority.ts';
import type { ApprovalRow } from './approvals.ts';
import { listQuestions } from './list-repository.ts';
import { needsApprovals, type QuestionRow, questionNotFound, toQuestion, toQuestionHead } from './question.ts';
import { countOpen, countOpenByPriority, findQuestion, listQuestionsById } from './repository.ts';
import type { Question, QuestionHead } from './schemas.ts';
import { approvalsOf } from './standing.ts';

interface Dependencies {
  db: Database;
  clock: Clock;
  events: EventLog;
}

export type Reading = ReturnType<typeof createReading>;

/** Questions as they are read. */
export function createReading({ db, clock, events }: Dependencies) {
  async function required(reader: Reader, questionId: string): Promise<QuestionRow> {
    const row = await findQuestion(reader, questionId);
    if (!row) throw questionNotFound(questionId);
    return row;
  }

  /** The wire form of these questions, with one look-up for all their requests. */
  async function views(reader: Reader, rows: QuestionRow[]): Promise<Question[]> {
    const asked = await events.at(
      reader,
      rows.map(row => row.asked_sequence),
    );
    const approvals = await approvalsIn(reader, rows);
    return rows.map(row =>
      toQuestion(row, asked.get(row.asked_sequence)?.payload ?? {}, approvals.get(row.question_id)),
    );
  }

  async function view(reader: Reader, row: QuestionRow): Promise<Question> {
    const [question] = await views(reader, [row]);
    return question as Question;
  }

  async function current(reader: Reader, questionId: string): Promise<Question> {
    return view(reader, await required(reader, questionId));
  }

  return {
    required,
    view,
    views,

    /** The question as it is now. @throws Refusal QUESTION_NOT_FOUND */
    current,

    /** These questions, by id. */
    async byId(reader: Reader, questionIds: string[]): Promise<Map<string, Question>> {
      const found = await views(reader, await listQuestionsById(reader, questionIds));
      return new Map(found.map(question => [question.question_id, question]));
    },

    /** @throws Refusal QUESTION_NOT_FOUND */
    get: (questionId: string): Promise<Question> => current(db.read, questionId),

    /** The state and the priority rank of a question, if it exists. */
    standing: (reader: Reader, questionId: string): Promise<Pick<QuestionRow, 'state' | 'priority'> | undefined> =>
      findQuestion(reader, questionId),

    /** The heads of the most urgent open questions of a run; of equals the oldest. */
    async openHeads(reader: Reader, runId: string): Promise<QuestionHead[]> {
      const rows = await listQuestions(reader, { state: 'open', run_id: runId }, { order: 'urgent' }, EMBEDDED);
      const asked = await events.heads(
        reader,
        rows.map(row => row.asked_sequence),
      );
      const approvals = await approvalsIn(reader, rows);
      return rows.map(row =>
        toQuestionHead(row, asked.get(row.asked_sequence)?.payload ?? {}, approvals.get(row.question_id)),
      );
    },

    /** The stored questions with these ids. */
    rows: (tx: Tx, questionIds: string[]): Promise<QuestionRow[]> => listQuestionsById(tx, questionIds),

    /** The approvals of those of these questions that two people must answer, by question. */
    approvals: approvalsIn,

    /** How many questions of each priority are open, and when the oldest was asked (epoch milliseconds). */
    async openByPriority(): Promise<{ priority: Priority; count: number; oldest: number }[]> {
      const counts = await countOpenByPriority(db.read);
      return counts.map(({ priority, count, oldest }) => ({ priority: priorityAt(priority), count, oldest }));
    },

    /** How many questions are open, and how long the oldest has waited (seconds). */
    async backlog() {
      const { count, oldest } = await countOpen(db.read);
      return {
        count,
        oldest_asked_at: toTimestampOrNull(oldest),
        oldest_age_seconds: oldest === null ? null : Math.max(0, (clock.now() - oldest) / 1000),
      };
    },
  };
}

/** The approvals of those of these questions that two people must answer, by question. Most questions have none to read. */
async function approvalsIn(reader: Reader, rows: QuestionRow[]): Promise<Map<string, ApprovalRow[]>> {
  const ids = rows.filter(needsApprovals).map(row => row.question_id);
  return ids.length === 0 ? new Map() : approvalsOf(reader, ids);
}
