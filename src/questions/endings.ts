import { type Actor, parseActor } from '../actor.ts';
import type { Clock } from '../clock.ts';
import { type Agent, type AgentName, type Control, ticketed } from '../control/service.ts';
import type { Database, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { EventLog } from '../events/service.ts';
import type { ThreadService } from '../threads/service.ts';
import type { ThreadRow } from '../threads/thread.ts';
import {
  acknowledged,
  assertOpenQuestion,
  closedAs,
  endedPayload,
  expired,
  expiryOutcome,
  isForAgent,
  type QuestionRow,
  withTicketOf,
} from './question.ts';
import type { Reading } from './reading.ts';
import { askedHeads, listOverdue, listQuestionsById, updateQuestion } from './repository.ts';
import type { Question, QuestionState } from './schemas.ts';

export interface Dependencies {
  db: Database;
  clock: Clock;
  events: EventLog;
  control: Control;
  threads: ThreadService;
  /** Told of each question that has ended, and how long it was open (seconds). */
  ended: (outcome: QuestionOutcome, seconds: number) => void;
}

/** How a question ended. */
export type QuestionOutcome = Exclude<QuestionState, 'open'>;

/** The most questions that one transaction expires or cancels. */
const CLOSE_BATCH = 100;
/** After this time a transaction expires no further questions; the next one does. Milliseconds. */
const EXPIRY_MS = 20;

/** The actor of what time brings. */
export const timekeeper: Actor = { type: 'system', name: 'forumbus' };

/** How questions end without an answer, and how their agents receive the outcome of any end. */
export function createEndings(dependencies: Dependencies, reading: Pick<Reading, 'required' | 'view'>) {
  const { db, clock, events, control, threads, ended } = dependencies;
  const { required, view } = reading;

  /** Stores a question that has ended. */
  function store(tx: Tx, row: QuestionRow, now: number): void {
    updateQuestion(tx, row);
    tx.afterCommit(() => ended(row.state as QuestionOutcome, Math.max(0, now - row.asked_at) / 1000));
  }

  /** Closes open questions of one agent without an answer, in one act. */
  async function close(
    tx: Tx,
    agent: Agent,
    rows: QuestionRow[],
    actor: Actor,
    state: 'cancelled' | 'expired',
  ): Promise<QuestionRow[]> {
    const closed = rows.map(row => (state === 'expired' ? expired(row) : closedAs(row, state)));
    const askedHead = await askedHeads(tx, rows);
    const drafts = closed.map(row => {
      const head = askedHead(row);
      const outcome = state === 'expired' ? expiryOutcome(row, head) : {};
      const payload = endedPayload(row, head, outcome, agent.run.title);
      return withTicketOf(row, events.draft(ticketed(agent), actor, `forum.question.${state}`, payload));
    });
    const [cause, ...others] = drafts;
    if (!cause) return [];
    await control.record(tx, agent, [cause, ...others]);
    for (const row of closed) store(tx, row, cause.occurred_at);
    return closed;
  }

  /** Stores that the outcomes of ended questions of one agent have arrived, in one act. */
  async function receive(
    tx: Tx,
    { run_id, agent_name }: AgentName,
    rows: QuestionRow[],
    actor: Actor = { type: 'agent', name: agent_name },
  ): Promise<QuestionRow[]> {
    const agent = await control.required(tx, run_id, agent_name);
    const received = rows.map(row => {
      const { question_id } = row;
      const drafted = events.draft(ticketed(agent), actor, 'forum.question.acknowledged', { question_id });
      const draft = withTicketOf(row, drafted);
      return { draft, next: acknowledged(row, draft.occurred_at) };
    });
    const [cause, ...others] = received.map(({ draft }) => draft);
    if (!cause) return [];
    await control.record(tx, agent, [cause, ...others], rows.filter(row => isForAgent(row.state)).length);
    for (const { next } of received) updateQuestion(tx, next);
    return received.map(({ next }) => next);
  }

  /** Cancels the oldest open questions of a control thread. */
  async function withdraw(tx: Tx, { run_id, agent_name }: ThreadRow, actor: Actor): Promise<void> {
    const agent = await control.required(tx, run_id as string, agent_name as string);
    const open = await listQuestionsById(tx, await control.openQuestions(tx, agent.control, CLOSE_BATCH));
    await close(tx, agent, open, actor, 'cancelled');
  }

  /** Expires these questions, agent by agent, unless they have ended meanwhile. It may leave some to the next call. */
  async function expire(tx: Tx, questionIds: string[]): Promise<void> {
    const until = performance.now() + EXPIRY_MS;
    const open = (await listQuestionsById(tx, questionIds)).filter(row => row.state === 'open');
    for (const rows of Map.groupBy(open, ({ thread_id }) => thread_id).values()) {
      const [{ run_id, agent_name }] = rows as [QuestionRow];
      const inOrder = rows.sort((a, b) => a.asked_sequence - b.asked_sequence);
      await close(tx, await control.required(tx, run_id, agent_name), inOrder, timekeeper, 'expired');
      if (performance.now() > until) return;
    }
  }

  return {
    store,

    /** Cancels an open question; a cancelled one stays as it is. @throws Refusal QUESTION_NOT_FOUND, ALREADY_ANSWERED, QUESTION_CLOSED, THREAD_CLOSED */
    async cancel(tx: Tx, questionId: string, actor: Actor): Promise<Question> {
      const row = await required(tx, questionId);
      if (row.state === 'cancelled') return view(tx, row);
      assertOpenQuestion(row);
      const agent = await control.required(tx, row.run_id, row.agent_name);
      const [cancelled = row] = await close(tx, agent, [row], actor, 'cancelled');
      return view(tx, cancelled);
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
      const [next = row] = await receive(tx, row, [row], actor);
      return view(tx, next);
    },

    /** As {@link acknowledge}, for ended questions of one agent, in one act. */
    async acknowledgeAll(tx: Tx, agent: AgentName, questionIds: string[], actor: Actor | undefined): Promise<void> {
      const rows = await listQuestionsById(tx, questionIds);
      await receive(
        tx,
        agent,
        rows.filter(row => row.acknowledged_at === null).sort((a, b) => a.asked_sequence - b.asked_sequence),
        actor,
      );
    },

    /**
     * Cancels open questions of a control thread that is about to close. An agent can have more than one transaction
     * should cancel, if they were asked under a greater limit. `withdrawLeft` cancels the others.
     */
    withdraw,

    /** Cancels the questions of closed threads that are still open. */
    async withdrawLeft(): Promise<void> {
      for (let left = await threads.withdrawing(db.read); left; left = await threads.withdrawing(db.read)) {
        const { thread_id, last_actor } = left;
        await db.write(async tx => withdraw(tx, await threads.row(tx, thread_id), parseActor(last_actor)));
      }
    },

    /** Expires overdue questions. An answer stored earlier wins; a later one is refused. */
    async expireOverdue(): Promise<void> {
      for (;;) {
        const overdue = await listOverdue(db.read, clock.now(), CLOSE_BATCH);
        if (overdue.length === 0) return;
        await db.write(tx => expire(tx, overdue));
      }
    },
  };
}
