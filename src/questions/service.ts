import { type Actor, parseActor } from '../actor.ts';
import { type Clock, toTimestampOrNull } from '../clock.ts';
import { type Agent, type AgentName, assertOpen, type Control, EMBEDDED, ticketed } from '../control/service.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import type { Touched } from '../db/group-commit.ts';
import { Refusal } from '../errors.ts';
import type { Event } from '../events/schemas.ts';
import type { EventDraft, EventLog, Stored } from '../events/service.ts';
import { type Priority, priorityAt } from '../priority.ts';
import type { Search } from '../search/service.ts';
import type { ThreadService } from '../threads/service.ts';
import type { ThreadRow } from '../threads/thread.ts';
import { type ApprovalRow, assertNoDefault, assertOfPerson } from './approvals.ts';
import { listQuestions } from './list-repository.ts';
import {
  type Asked,
  acknowledged,
  answered,
  answerPlaceOf,
  approved,
  assertOpenQuestion,
  assertSelection,
  closedAs,
  defaultText,
  endedPayload,
  expired,
  expiryOutcome,
  type GivenAnswer,
  isForAgent,
  needsApprovals,
  newQuestion,
  opened,
  openedPayload,
  type QuestionRow,
  questionNotFound,
  searchText,
  toQuestion,
  toQuestionHead,
  withTicketOf,
} from './question.ts';
import {
  countOpen,
  countOpenByPriority,
  eraseAnswers,
  eraseApprovals,
  findAskedHeads,
  findQuestion,
  insertQuestion,
  listOverdue,
  listQuestionsById,
  storeQuestions,
  updateQuestion,
} from './repository.ts';
import type { Question, QuestionHead, QuestionState } from './schemas.ts';
import { approvalsOf, approve, givenBefore, restoreApprovals, standings } from './standing.ts';

export type QuestionService = ReturnType<typeof createQuestions>;

interface Dependencies {
  db: Database;
  clock: Clock;
  events: EventLog;
  control: Control;
  threads: ThreadService;
  search: Search;
  /** The most open questions of an agent. */
  openPerAgent: number;
  /** The shortest time after which a default may stand in. Seconds. */
  minDefaultSeconds: number;
  /** Told of each question that has ended, and how long it was open (seconds). */
  ended: (outcome: QuestionOutcome, seconds: number) => void;
}

/** How a question ended. */
export type QuestionOutcome = Exclude<QuestionState, 'open'>;

/** The most questions that one transaction expires or cancels. */
const CLOSE_BATCH = 100;
/** After this time a transaction expires no further questions; the next one does. Milliseconds. */
const EXPIRY_MS = 20;

/** The actor of expiry events. */
const timekeeper: Actor = { type: 'system', name: 'forumbus' };

/** The result of asking or answering. */
interface Acted {
  agent: Agent;
  /** Sequence of the signal's own event. */
  sequence: number;
  question: QuestionRow;
}

/** The life of questions: asked, answered, superseded, cancelled, expired, acknowledged. */
export function createQuestions(dependencies: Dependencies) {
  const { db, clock, events, control, threads, search, openPerAgent, minDefaultSeconds, ended } = dependencies;

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

  /** Looks up the heads of what these questions ask, for the events that end them. */
  async function askedHeads(tx: Tx, rows: QuestionRow[]): Promise<(row: QuestionRow) => Event['payload']> {
    const heads = await findAskedHeads(
      tx,
      rows.map(row => row.asked_sequence),
    );
    return row => heads.get(row.asked_sequence) ?? {};
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

  /** @throws Refusal TOO_MANY_OPEN_QUESTIONS */
  function assertRoom({ control: { open_questions_count, agent_name } }: Agent, superseded: number): void {
    if (open_questions_count - superseded < openPerAgent) return;
    throw new Refusal(
      'TOO_MANY_OPEN_QUESTIONS',
      `The agent ${agent_name} has ${open_questions_count} open questions; it may have ${openPerAgent}.`,
      { open_questions_count, limit: openPerAgent },
    );
  }

  /** @throws Refusal VALIDATION_FAILED if a default could stand in before a person can have seen the question */
  function assertTimeToAnswer({ default_answer, default_selected, expires_in_seconds = 0 }: Asked): void {
    if ((default_answer ?? default_selected) === undefined || expires_in_seconds >= minDefaultSeconds) return;
    const detail = `must be at least ${minDefaultSeconds} if there is a default`;
    throw new Refusal('VALIDATION_FAILED', `body/expires_in_seconds: ${detail}`, {
      errors: [{ in: 'body', pointer: '/expires_in_seconds', code: 'TOO_SMALL', detail }],
    });
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

    /** What an act on a question reads and changes: its run only. Undefined if there is no such question. */
    async touches(questionId: string): Promise<Touched[] | undefined> {
      const question = await findQuestion(db.read, questionId);
      return question && [`run ${question.run_id}`];
    },

    /**
     * Opens the question of a guidance request, and supersedes the one that it replaces.
     * @param cause the event of the request; its payload gets the `question_id`
     * @throws Refusal QUESTION_NOT_FOUND, QUESTION_MISMATCH, ALREADY_ANSWERED or QUESTION_CLOSED about the replaced
     *   question; VALIDATION_FAILED or INVALID_SELECTION about the default; TOO_MANY_OPEN_QUESTIONS
     */
    async ask(tx: Tx, agent: Agent, cause: EventDraft, request: Asked): Promise<Acted> {
      const { supersedes } = request;
      if (request.approvals === 2) assertNoDefault(request);
      assertTimeToAnswer(request);
      const default_answer = defaultText(request);
      const superseded = supersedes ? await supersededBy(tx, agent, supersedes) : undefined;
      assertRoom(agent, superseded ? 1 : 0);
      const question_id = `q_${cause.uid}`;
      cause.payload.question_id = question_id;
      if (default_answer !== undefined) cause.payload.default_answer = default_answer;
      const asked = newQuestion(cause);
      const { title } = agent.run;
      const withDefault = default_answer === undefined ? request : { ...request, default_answer };
      const effects = [events.follow(cause, 'forum.question.opened', openedPayload(asked, withDefault, title))];
      if (superseded) {
        const askedHead = await askedHeads(tx, [superseded]);
        const payload = endedPayload(superseded, askedHead(superseded), { superseded_by: question_id }, title);
        effects.push(withTicketOf(superseded, events.follow(cause, 'forum.question.superseded', payload)));
      }
      const recorded = await control.record(tx, agent, [cause, ...effects]);
      const question = opened(asked, superseded?.question_id ?? null, recorded.sequence);
      insertQuestion(tx, question);
      search.indexQuestion(tx, recorded.sequence, searchText(cause.payload));
      if (superseded) store(tx, closedAs(superseded, 'superseded'), asked.asked_at);
      return { ...recorded, question };
    },

    /**
     * The question that an answer is for: the one it names, else the agent's only open one.
     * @throws Refusal QUESTION_NOT_FOUND, QUESTION_MISMATCH, RUN_CLOSED, THREAD_CLOSED, NO_OPEN_QUESTION, AMBIGUOUS_ANSWER
     */
    async repliedTo(tx: Tx, agent: Agent, questionId: string | undefined): Promise<QuestionRow> {
      if (questionId !== undefined) {
        const row = await required(tx, questionId);
        assertOwn(agent, row);
        return row;
      }
      const open = await control.openQuestions(tx, agent.control);
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

    givenBefore,
    standings,

    /**
     * Answers an open question. One that two people must answer stays open until both have given the same answer. Until
     * then an answer is the approval of its person.
     * @param cause the event of the answer; its payload gets the `question_id`
     * @throws Refusal ALREADY_ANSWERED, QUESTION_CLOSED, INVALID_SELECTION. FORBIDDEN if the question needs two people
     *   and the answer's person cannot be told from another
     */
    async answer(tx: Tx, agent: Agent, cause: EventDraft, question: QuestionRow, given: GivenAnswer): Promise<Acted> {
      assertOpenQuestion(question);
      if (needsApprovals(question)) assertOfPerson(cause.actor, given);
      assertSelection(await view(tx, question), given);
      const { question_id } = question;
      cause.payload.question_id = question_id;
      const { answer, selected = [] } = given;
      const askedHead = await askedHeads(tx, [question]);
      const outcome = { answer, selected, answered_in: answerPlaceOf(given) };
      const approval = needsApprovals(question) ? await approve(tx, question, cause, given) : undefined;
      if (approval && approval.missing > 0) {
        const { missing } = approval;
        const still = { ...outcome, approvals_required: question.approvals_required, missing };
        const payload = endedPayload(question, askedHead(question), still, agent.run.title);
        const effect = withTicketOf(question, events.follow(cause, 'forum.question.approved', payload));
        const recorded = await control.record(tx, agent, [cause, effect]);
        const row = approved(question);
        approval.store(recorded.sequence);
        updateQuestion(tx, row);
        return { ...recorded, question: row };
      }
      const end = { ...outcome, ...(approval && { approved_by: approval.agreed }) };
      const payload = endedPayload(question, askedHead(question), end, agent.run.title);
      const closed = withTicketOf(question, events.follow(cause, 'forum.question.answered', payload));
      const recorded = await control.record(tx, agent, [cause, closed]);
      const row = answered(question, given, cause.actor, cause.occurred_at, recorded.sequence);
      approval?.store(recorded.sequence);
      store(tx, row, cause.occurred_at);
      return { ...recorded, question: row };
    },

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

    /**
     * Erases the search words and the answers of questions whose requests' events are being erased.
     * @param requests the events as they were
     */
    erase(tx: Tx, requests: readonly Stored[]): void {
      for (const { sequence, payload } of requests) search.removeQuestion(tx, sequence, searchText(payload));
      const idsOf = (some: readonly Stored[]) => some.map(({ payload }) => payload.question_id as string);
      eraseAnswers(tx, idsOf(requests));
      eraseApprovals(tx, idsOf(requests.filter(({ payload }) => payload.approvals === 2)));
    },

    /** The stored questions with these ids. */
    rows: (tx: Tx, questionIds: string[]): Promise<QuestionRow[]> => listQuestionsById(tx, questionIds),

    /** Stores questions as the events of an import leave them. Their words are indexed later. */
    async restore(
      tx: Tx,
      rows: readonly QuestionRow[],
      approvals: Map<string, readonly ApprovalRow[]> = new Map(),
    ): Promise<void> {
      await storeQuestions(tx, rows);
      if (approvals.size > 0) await restoreApprovals(tx, approvals);
    },

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

/** @throws Refusal QUESTION_MISMATCH */
function assertOwn({ control: { run_id, agent_name } }: Agent, { question_id, ...asked }: QuestionRow): void {
  if (asked.run_id === run_id && asked.agent_name === agent_name) return;
  throw new Refusal('QUESTION_MISMATCH', `The question ${question_id} was not asked by ${agent_name} in ${run_id}.`);
}
