import { type Agent, assertOpen } from '../control/service.ts';
import type { Tx } from '../db/database.ts';
import type { Touched } from '../db/group-commit.ts';
import { Refusal } from '../errors.ts';
import type { EventDraft, Stored } from '../events/service.ts';
import type { Search } from '../search/service.ts';
import { type ApprovalRow, assertNoDefault, assertOfPerson } from './approvals.ts';
import { createEndings, type Dependencies as EndingDependencies } from './endings.ts';
import {
  type Asked,
  answered,
  answerPlaceOf,
  approved,
  assertOpenQuestion,
  assertSelection,
  closedAs,
  defaultText,
  endedPayload,
  type GivenAnswer,
  needsApprovals,
  newQuestion,
  opened,
  openedPayload,
  type QuestionRow,
  questionNotFound,
  searchText,
  withTicketOf,
} from './question.ts';
import { createReading } from './reading.ts';
import {
  askedHeads,
  eraseAnswers,
  eraseApprovals,
  findQuestion,
  insertQuestion,
  storeQuestions,
  updateQuestion,
} from './repository.ts';
import { approve, givenBefore, restoreApprovals, standings } from './standing.ts';

export type QuestionService = ReturnType<typeof createQuestions>;

interface Dependencies extends EndingDependencies {
  search: Search;
  /** The most open questions of an agent. */
  openPerAgent: number;
  /** The shortest time after which a default may stand in. Seconds. */
  minDefaultSeconds: number;
}

/** The result of asking or answering. */
interface Acted {
  agent: Agent;
  /** Sequence of the signal's own event. */
  sequence: number;
  question: QuestionRow;
}

/** The life of questions: asked, answered, superseded, cancelled, expired, acknowledged. */
export function createQuestions(dependencies: Dependencies) {
  const { db, events, control, search, openPerAgent, minDefaultSeconds } = dependencies;
  const reading = createReading(dependencies);
  const { required, view } = reading;
  const { store, ...endings } = createEndings(dependencies, reading);

  /** The open question that a request replaces. @throws Refusal unless it is open and the agent's own */
  async function supersededBy(tx: Tx, agent: Agent, questionId: string): Promise<QuestionRow> {
    const row = await required(tx, questionId);
    // An agent must not learn that a question of another run exists.
    if (row.run_id !== agent.control.run_id) throw questionNotFound(questionId);
    assertOwn(agent, row);
    assertOpenQuestion(row);
    return row;
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

  return {
    ...reading,
    ...endings,

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

    /** Stores questions as the events of an import leave them. Their words are indexed later. */
    async restore(
      tx: Tx,
      rows: readonly QuestionRow[],
      approvals: Map<string, readonly ApprovalRow[]> = new Map(),
    ): Promise<void> {
      await storeQuestions(tx, rows);
      if (approvals.size > 0) await restoreApprovals(tx, approvals);
    },
  };
}

/** @throws Refusal QUESTION_MISMATCH */
function assertOwn({ control: { run_id, agent_name } }: Agent, { question_id, ...asked }: QuestionRow): void {
  if (asked.run_id === run_id && asked.agent_name === agent_name) return;
  throw new Refusal('QUESTION_MISMATCH', `The question ${question_id} was not asked by ${agent_name} in ${run_id}.`);
}
