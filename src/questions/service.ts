import type { Actor } from '../actor.ts';
import { type Clock, toTimestampOrNull } from '../clock.ts';
import { openQuestions } from '../control/agent-state.ts';
import { type Agent, assertOpen, type Control } from '../control/service.ts';
import { decodeCursor, type Page, toPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { EventDraft, Events } from '../events/service.ts';
import { type Priority, priorityRank } from '../priority.ts';
import type { ThreadRow } from '../threads/thread.ts';
import {
  answered,
  assertOpenQuestion,
  assertSelection,
  closedAs,
  expired,
  type GivenAnswer,
  isForAgent,
  openQuestion,
  type QuestionRow,
  questionNotFound,
  toQuestion,
} from './question.ts';
import {
  countOpen,
  findQuestion,
  findQuestions,
  insertQuestion,
  listOverdue,
  listQuestions,
  updateQuestion,
} from './repository.ts';
import type { Question, QuestionQuery } from './schemas.ts';

export type Questions = ReturnType<typeof createQuestions>;

interface Dependencies {
  db: Database;
  clock: Clock;
  events: Events;
  control: Control;
}

/** Questions expired per transaction. */
const EXPIRY_BATCH = 50;

/** The actor of expiry events. */
const timekeeper: Actor = { type: 'system', name: 'forumbus' };

/** The fields of a guidance request that its question needs. */
interface Ask {
  priority?: Priority;
  expires_in_seconds?: number;
  /** The id of the open question that this one replaces. */
  supersedes?: string;
}

/** The result of asking or answering. */
interface Acted {
  agent: Agent;
  /** Sequence of the signal's own event. */
  sequence: number;
  question: QuestionRow;
}

/** The life of questions: asked, answered, superseded, cancelled, expired, acknowledged. */
export function createQuestions({ db, clock, events, control }: Dependencies) {
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
    return rows.map(row => toQuestion(row, asked.get(row.asked_sequence)?.payload ?? {}));
  }

  async function view(reader: Reader, row: QuestionRow): Promise<Question> {
    const [question] = await views(reader, [row]);
    return question as Question;
  }

  /** The open question that a request replaces. @throws Refusal unless it is open and the agent's own */
  async function supersededBy(tx: Tx, agent: Agent, questionId: string): Promise<QuestionRow> {
    const row = await required(tx, questionId);
    // An agent must not learn that a question of another run exists.
    if (row.run_id !== agent.control.run_id) throw questionNotFound(questionId);
    assertOwn(agent, row);
    assertOpenQuestion(row);
    return row;
  }

  /** Closes an open question without an answer. */
  async function close(
    tx: Tx,
    row: QuestionRow,
    actor: Actor,
    type: 'forum.question.cancelled' | 'forum.question.expired',
    next: QuestionRow,
  ): Promise<QuestionRow> {
    const { question_id, run_id, agent_name } = row;
    const agent = await control.required(tx, run_id, agent_name);
    const details = next.state === 'expired' ? { default_applied: next.default_applied === 1 } : {};
    const closed = events.draft(agent.thread, actor, type, { question_id, ...details });
    await control.record(tx, agent, [closed], { closed: [question_id], ended: 1 });
    updateQuestion(tx, next);
    return next;
  }

  /** Expires a question unless it has ended meanwhile. */
  async function expire(tx: Tx, questionId: string): Promise<void> {
    const row = await required(tx, questionId);
    if (row.state !== 'open') return;
    const { default_answer } = await view(tx, row);
    await close(tx, row, timekeeper, 'forum.question.expired', expired(row, default_answer !== null));
  }

  return {
    required,
    view,

    /**
     * Opens the question of a guidance request, and supersedes the one that it replaces.
     * @param cause the event of the request; its payload gets the `question_id`
     * @throws Refusal QUESTION_NOT_FOUND, QUESTION_MISMATCH, ALREADY_ANSWERED or QUESTION_CLOSED about the replaced question
     */
    async ask(
      tx: Tx,
      agent: Agent,
      cause: EventDraft,
      { priority, expires_in_seconds, supersedes }: Ask,
    ): Promise<Acted> {
      const superseded = supersedes ? await supersededBy(tx, agent, supersedes) : undefined;
      const question_id = `q_${cause.uid}`;
      cause.payload.question_id = question_id;
      const effects = [events.follow(cause, 'forum.question.opened', { question_id })];
      if (superseded) {
        const payload = { question_id: superseded.question_id, superseded_by: question_id };
        effects.push(events.follow(cause, 'forum.question.superseded', payload));
      }
      const change = { opened: question_id, closed: superseded ? [superseded.question_id] : [] };
      const recorded = await control.record(tx, agent, [cause, ...effects], change);
      const asked_at = cause.occurred_at;
      const asked = {
        question_id,
        thread_id: agent.thread.thread_id,
        run_id: agent.control.run_id,
        agent_name: agent.control.agent_name,
        priority: priorityRank(priority ?? 'normal'),
        asked_at,
        expires_at: expires_in_seconds ? asked_at + expires_in_seconds * 1000 : null,
      };
      const question = openQuestion(asked, superseded?.question_id ?? null, recorded.sequence);
      insertQuestion(tx, question);
      if (superseded) updateQuestion(tx, closedAs(superseded, 'superseded'));
      return { ...recorded, question };
    },

    /**
     * The question that an answer is for: the one it names, else the agent's only open one.
     * @throws Refusal QUESTION_NOT_FOUND, QUESTION_MISMATCH, THREAD_CLOSED, NO_OPEN_QUESTION, AMBIGUOUS_ANSWER
     */
    async repliedTo(tx: Tx, agent: Agent, questionId: string | undefined): Promise<QuestionRow> {
      if (questionId !== undefined) {
        const row = await required(tx, questionId);
        assertOwn(agent, row);
        return row;
      }
      const open = openQuestions(agent.control);
      const [only] = open;
      if (only === undefined) {
        assertOpen(agent);
        throw new Refusal(
          'NO_OPEN_QUESTION',
          `The agent ${agent.control.agent_name} has no open question in this run.`,
        );
      }
      if (open.length > 1) {
        throw new Refusal('AMBIGUOUS_ANSWER', 'Several questions are open; name one in in_reply_to.', {
          question_ids: open,
        });
      }
      return required(tx, only);
    },

    /**
     * Answers an open question.
     * @param cause the event of the answer; its payload gets the `question_id`
     * @throws Refusal ALREADY_ANSWERED, QUESTION_CLOSED, INVALID_SELECTION
     */
    async answer(tx: Tx, agent: Agent, cause: EventDraft, question: QuestionRow, given: GivenAnswer): Promise<Acted> {
      assertOpenQuestion(question);
      assertSelection(await view(tx, question), given);
      const { question_id } = question;
      cause.payload.question_id = question_id;
      const { answer, selected = [] } = given;
      const closed = events.follow(cause, 'forum.question.answered', { question_id, answer, selected });
      const recorded = await control.record(tx, agent, [cause, closed], { closed: [question_id], ended: 1 });
      const row = answered(question, given, cause.actor, cause.occurred_at, recorded.sequence);
      updateQuestion(tx, row);
      return { ...recorded, question: row };
    },

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

    /** Cancels an open question; a cancelled one stays as it is. @throws Refusal QUESTION_NOT_FOUND, ALREADY_ANSWERED, QUESTION_CLOSED, THREAD_CLOSED */
    async cancel(tx: Tx, questionId: string, actor: Actor): Promise<Question> {
      const row = await required(tx, questionId);
      if (row.state === 'cancelled') return view(tx, row);
      assertOpenQuestion(row);
      return view(tx, await close(tx, row, actor, 'forum.question.cancelled', closedAs(row, 'cancelled')));
    },

    /**
     * Marks the outcome of a question as received by its agent. Repeating it changes nothing.
     * @throws Refusal QUESTION_NOT_FOUND, QUESTION_OPEN
     */
    async acknowledge(tx: Tx, questionId: string, actor: Actor | undefined): Promise<Question> {
      const row = await required(tx, questionId);
      if (row.state === 'open') {
        throw new Refusal(
          'QUESTION_OPEN',
          `The question ${questionId} is still open, so it has no outcome to acknowledge.`,
        );
      }
      if (row.acknowledged_at !== null) return view(tx, row);
      const agent = await control.required(tx, row.run_id, row.agent_name);
      const by = actor ?? { type: 'agent', name: row.agent_name };
      const acknowledged = events.draft(agent.thread, by, 'forum.question.acknowledged', { question_id: questionId });
      await control.record(tx, agent, [acknowledged], { received: isForAgent(row.state) ? 1 : 0 });
      const next = { ...row, acknowledged_at: acknowledged.occurred_at, version: row.version + 1 };
      updateQuestion(tx, next);
      return view(tx, next);
    },

    /** Cancels all open questions of a control thread. */
    async withdraw(tx: Tx, { run_id, agent_name }: ThreadRow, actor: Actor): Promise<void> {
      const { control: state } = await control.required(tx, run_id as string, agent_name as string);
      for (const row of await findQuestions(tx, openQuestions(state))) {
        await close(tx, row, actor, 'forum.question.cancelled', closedAs(row, 'cancelled'));
      }
    },

    /** Expires overdue questions. An answer stored earlier wins; a later one is refused. */
    async expireOverdue(): Promise<void> {
      for (;;) {
        const overdue = await listOverdue(db.read, clock.now(), EXPIRY_BATCH);
        if (overdue.length === 0) return;
        await db.write(async tx => {
          for (const questionId of overdue) await expire(tx, questionId);
        });
        if (overdue.length < EXPIRY_BATCH) return;
      }
    },

    /** These questions, most urgent first, then oldest first. */
    async byId(reader: Reader, questionIds: string[]): Promise<Question[]> {
      return views(reader, await findQuestions(reader, questionIds));
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

/** @throws Refusal QUESTION_MISMATCH */
function assertOwn({ control: { run_id, agent_name } }: Agent, { question_id, ...asked }: QuestionRow): void {
  if (asked.run_id === run_id && asked.agent_name === agent_name) return;
  throw new Refusal('QUESTION_MISMATCH', `The question ${question_id} was not asked by ${agent_name} in ${run_id}.`);
}
