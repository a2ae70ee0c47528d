import type { Actor } from '../actor.ts';
import type { Control } from '../control/service.ts';
import { decodeCursor, type Page, toPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { Events } from '../events/service.ts';
import { priorityRank } from '../priority.ts';
import { assertOpenQuestion, closedAs, type QuestionRow, toQuestion } from './question.ts';
import { findQuestion, insertQuestion, listQuestions, updateQuestion } from './repository.ts';
import type { Question, QuestionQuery } from './schemas.ts';

export type Questions = ReturnType<typeof createQuestions>;

interface Dependencies {
  db: Database;
  events: Events;
  control: Control;
}

/** Questions as operators see them. Opening and answering come in as signals; cancelling comes in here. */
export function createQuestions({ db, events, control }: Dependencies) {
  async function required(reader: Reader, questionId: string): Promise<QuestionRow> {
    const row = await findQuestion(reader, questionId);
    if (!row) throw new Refusal('QUESTION_NOT_FOUND', `There is no question ${questionId}.`);
    return row;
  }

  /** The views of these questions, with one look-up for what was asked. */
  async function views(reader: Reader, rows: QuestionRow[]): Promise<Question[]> {
    const asked = await events.at(
      reader,
      rows.map(row => row.asked_sequence),
    );
    return rows.map(row => toQuestion(row, asked.get(row.asked_sequence)?.payload ?? {}));
  }

  async function view(reader: Reader, row: QuestionRow): Promise<Question> {
    const [question] = await views(reader, [row]);
    return question as Question;
  }

  return {
    required,
    view,
    insert: (tx: Tx, row: QuestionRow) => insertQuestion(tx, row),
    update: (tx: Tx, row: QuestionRow) => updateQuestion(tx, row),

    /** @throws Refusal QUESTION_NOT_FOUND */
    async get(questionId: string): Promise<Question> {
      return view(db.read, await required(db.read, questionId));
    },

    /** Most urgent first, then oldest first. @throws Refusal INVALID_CURSOR */
    async list({ limit = 50, cursor, priority, ...filter }: QuestionQuery): Promise<Page<Question>> {
      const from = decodeCursor('questions', cursor, [0, 0] as const);
      const rank = priority && priorityRank(priority);
      const rows = await listQuestions(db.read, { ...filter, priority: rank, from }, limit + 1);
      const page = toPage('questions', rows, limit, row => [row.priority, row.asked_sequence]);
      return { items: await views(db.read, page.items), next_cursor: page.next_cursor };
    },

    /** Cancelling twice is cancelling once. @throws Refusal QUESTION_NOT_FOUND, ALREADY_ANSWERED, QUESTION_CLOSED, THREAD_CLOSED */
    async cancel(questionId: string, actor: Actor): Promise<Question> {
      return db.write(async tx => {
        const row = await required(tx, questionId);
        if (row.state === 'cancelled') return view(tx, row);
        assertOpenQuestion(row);
        const agent = await control.required(tx, row.run_id, row.agent_name);
        const cancelled = events.draft(agent.thread, actor, 'forum.question.cancelled', { question_id: questionId });
        await control.commit(tx, agent, [cancelled], { closed: [questionId] });
        const next = closedAs(row, 'cancelled');
        await updateQuestion(tx, next);
        return view(tx, next);
      });
    },
  };
}
