import type { Actor } from '../actor.ts';
import { toTimestamp } from '../clock.ts';
import { type ControlChange, openQuestions } from '../control/agent-state.ts';
import { briefOf, meetsCriteria } from '../control/run-state.ts';
import { type Agent, assertOpen, type Control } from '../control/service.ts';
import type { Database, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { EventDraft, Events } from '../events/service.ts';
import { assertPrecondition, type Precondition } from '../precondition.ts';
import { priorityRank } from '../priority.ts';
import {
  answered,
  assertOpenQuestion,
  assertSelection,
  closedAs,
  isStoredAnswer,
  openQuestion,
  type QuestionRow,
  questionNotFound,
} from '../questions/question.ts';
import type { Answer, Question } from '../questions/schemas.ts';
import type { Questions } from '../questions/service.ts';
import { toThread } from '../threads/thread.ts';
import type {
  CompletionSignal,
  ControlSignalV1,
  ControlType,
  GuidanceAnswer,
  GuidanceRequest,
  Signal,
  SignalResult,
  ValidationSignal,
} from './schemas.ts';
import { signalNotFound, toSignal } from './signal.ts';

export type Signals = ReturnType<typeof createSignals>;

/** `created` is false if the signal only repeated what is stored. */
export interface Accepted extends SignalResult {
  created: boolean;
}

interface Dependencies {
  db: Database;
  events: Events;
  control: Control;
  questions: Questions;
  /** Whether an agent may validate its own work. */
  selfValidation: boolean;
  /** By type: called when a signal of it is stored for good. */
  stored: Record<ControlType, () => void>;
}

/**
 * Takes control signals in. Each one is a single transaction that reads the agent, checks everything that can be
 * refused, and only then writes: event and message, thread, control state, question.
 */
export function createSignals({ db, events, control, questions, selfValidation, stored }: Dependencies) {
  /** @throws Refusal; a refused signal leaves no trace */
  async function append(tx: Tx, signal: ControlSignalV1): Promise<Accepted> {
    const result = await take(tx, signal);
    if (result.created) tx.afterCommit(stored[signal.control_type]);
    return result;
  }

  async function take(tx: Tx, signal: ControlSignalV1): Promise<Accepted> {
    const actor = signal.actor ?? defaultActor(signal);
    const agent = await control.load(tx, signal.run_id, signal.agent_name, actor, signal.ticket ?? null);
    switch (signal.control_type) {
      case 'guidance_request':
        return ask(tx, agent, actor, signal);
      case 'guidance_answer':
        return reply(tx, agent, actor, signal);
      case 'completion':
        return report(tx, agent, actor, signal, { completed: true });
      case 'validation':
        if (!selfValidation) assertByAnother(actor, signal);
        return report(tx, agent, actor, signal, {
          validated: signal.status,
          criteriaMet: meetsCriteria(briefOf(agent.run), signal.done_criteria),
        });
    }
  }

  async function ask(tx: Tx, agent: Agent, actor: Actor, signal: GuidanceRequest): Promise<Accepted> {
    assertAccepts(agent, signal);
    const superseded = signal.supersedes ? await supersededBy(tx, agent, signal.supersedes) : undefined;

    const cause = draftOf(agent, actor, signal);
    const question_id = `q_${cause.uid}`;
    cause.payload.question_id = question_id;
    const effects = [events.follow(cause, 'forum.question.opened', { question_id })];
    if (superseded) {
      const { question_id: old } = superseded;
      effects.push(events.follow(cause, 'forum.question.superseded', { question_id: old, superseded_by: question_id }));
    }
    const change = { opened: question_id, closed: superseded ? [superseded.question_id] : [] };
    const committed = await control.record(tx, agent, [cause, ...effects], change);

    const { run_id, agent_name, expires_in_seconds } = signal;
    const asked_at = cause.occurred_at;
    const expires_at = expires_in_seconds ? asked_at + expires_in_seconds * 1000 : null;
    const priority = priorityRank(signal.priority ?? 'normal');
    const asked = {
      question_id,
      thread_id: agent.thread.thread_id,
      run_id,
      agent_name,
      priority,
      asked_at,
      expires_at,
    };
    const row = openQuestion(asked, superseded?.question_id ?? null, committed.sequence);
    questions.insert(tx, row);
    if (superseded) questions.update(tx, closedAs(superseded, 'superseded'));
    return accepted(tx, cause, committed, row);
  }

  async function reply(tx: Tx, agent: Agent, actor: Actor, signal: GuidanceAnswer): Promise<Accepted> {
    const question = await repliedTo(tx, agent, signal);
    if (question.answer_sequence !== null && isStoredAnswer(question, signal)) {
      return repeated(tx, agent, question, question.answer_sequence);
    }
    assertAccepts(agent, signal);
    assertOpenQuestion(question);
    assertSelection(await questions.view(tx, question), signal);

    const cause = draftOf(agent, actor, signal);
    const { question_id } = question;
    cause.payload.question_id = question_id;
    const { answer, selected = [] } = signal;
    const closed = events.follow(cause, 'forum.question.answered', { question_id, answer, selected });
    const committed = await control.record(tx, agent, [cause, closed], { closed: [question_id], ended: 1 });

    const row = answered(question, signal, actor, cause.occurred_at, committed.sequence);
    questions.update(tx, row);
    return accepted(tx, cause, committed, row);
  }

  async function report(
    tx: Tx,
    agent: Agent,
    actor: Actor,
    signal: CompletionSignal | ValidationSignal,
    change: ControlChange,
  ): Promise<Accepted> {
    assertAccepts(agent, signal);
    const cause = draftOf(agent, actor, signal);
    return accepted(tx, cause, await control.record(tx, agent, [cause], change));
  }

  function draftOf({ thread, control: { attempt } }: Agent, actor: Actor, signal: ControlSignalV1): EventDraft {
    const { run_id: _run, agent_name: _agent, actor: _actor, ticket = thread.ticket, ...sent } = signal;
    const { correlation_id, causation_id = null, ...fields } = sent;
    const draft = events.draft({ ...thread, ticket }, actor, 'forum.control.signal', {});
    const signal_id = `sig_${draft.uid}`;
    return {
      ...draft,
      correlation_id: correlation_id ?? signal_id,
      causation_id,
      payload: { signal_id, ...fields, attempt },
    };
  }

  /** The open question that a request replaces. @throws Refusal unless it is open and the agent's own */
  async function supersededBy(tx: Tx, agent: Agent, questionId: string): Promise<QuestionRow> {
    const row = await questions.required(tx, questionId);
    // To say that it is another run's would tell an agent that it exists.
    if (row.run_id !== agent.control.run_id) throw questionNotFound(questionId);
    assertOwn(agent, row);
    assertOpenQuestion(row);
    return row;
  }

  /** The question that an answer is for: the one it names, else the only open one. */
  async function repliedTo(tx: Tx, agent: Agent, { in_reply_to }: GuidanceAnswer): Promise<QuestionRow> {
    const open = openQuestions(agent.control);
    const [only] = open;
    if (in_reply_to !== undefined) {
      const row = await questions.required(tx, in_reply_to);
      assertOwn(agent, row);
      return row;
    }
    if (only === undefined) {
      assertOpen(agent);
      throw new Refusal('NO_OPEN_QUESTION', `The agent ${agent.control.agent_name} has no open question in this run.`);
    }
    if (open.length > 1) {
      throw new Refusal('AMBIGUOUS_ANSWER', 'Several questions are open; name one in in_reply_to.', {
        question_ids: open,
      });
    }
    return questions.required(tx, only);
  }

  async function accepted(
    tx: Tx,
    cause: EventDraft,
    { agent, sequence }: { agent: Agent; sequence: number },
    question?: QuestionRow,
  ): Promise<Accepted> {
    return {
      created: true,
      signal: toSignal({ ...cause, ...cause.thread, sequence, occurred_at: toTimestamp(cause.occurred_at) }),
      thread: toThread(agent.thread),
      control: await control.view(tx, agent),
      inbox: { unread: agent.control.unread },
      ...(question && { question: await questions.view(tx, question) }),
    };
  }

  async function repeated(tx: Tx, agent: Agent, question: QuestionRow, sequence: number): Promise<Accepted> {
    const first = (await events.at(tx, [sequence])).get(sequence);
    if (!first) throw new Error(`The event ${sequence} that answered ${question.question_id} is missing.`);
    return {
      created: false,
      signal: toSignal(first),
      thread: toThread(agent.thread),
      control: await control.view(tx, agent),
      inbox: { unread: agent.control.unread },
      question: await questions.view(tx, question),
    };
  }

  return {
    append,

    /** The same effect as a `guidance_answer` that names the question. @throws Refusal, PRECONDITION_FAILED among others */
    async answer(tx: Tx, questionId: string, { actor, ...given }: Answer, expected: Precondition): Promise<Question> {
      const { run_id, agent_name, version } = await questions.required(tx, questionId);
      assertPrecondition(expected, version);
      const signal: GuidanceAnswer = {
        schema_version: 1,
        control_type: 'guidance_answer',
        run_id,
        agent_name,
        in_reply_to: questionId,
        ...given,
        ...(actor && { actor }),
      };
      const { question } = await append(tx, signal);
      return question as Question;
    },

    /** The answer to a signal with everything beside the signal as it is now. */
    async refreshed({ signal }: SignalResult): Promise<SignalResult> {
      return db.snapshot(async reader => {
        const agent = await control.required(reader, signal.run_id, signal.agent_name);
        const question = signal.question_id && (await questions.required(reader, signal.question_id));
        return {
          signal,
          thread: toThread(agent.thread),
          control: await control.view(reader, agent),
          inbox: { unread: agent.control.unread },
          ...(question && { question: await questions.view(reader, question) }),
        };
      });
    },

    /** @throws Refusal SIGNAL_NOT_FOUND */
    async get(signalId: string): Promise<Signal> {
      const event = signalId.startsWith('sig_') ? await events.find(signalId.replace('sig_', 'evt_')) : undefined;
      if (event?.event_type !== 'forum.control.signal') throw signalNotFound(signalId);
      return toSignal(event);
    },
  };
}

function defaultActor({ control_type, agent_name }: ControlSignalV1): Actor {
  return control_type === 'guidance_answer'
    ? { type: 'operator', name: 'operator' }
    : { type: 'agent', name: agent_name };
}

/** @throws Refusal THREAD_CLOSED, STALE_ATTEMPT */
function assertAccepts(agent: Agent, { attempt }: ControlSignalV1): void {
  assertOpen(agent);
  const current = agent.control.attempt;
  if (attempt !== undefined && attempt !== current) {
    throw new Refusal('STALE_ATTEMPT', `The signal names attempt ${attempt}; the current one is ${current}.`, {
      attempt: current,
    });
  }
}

/** @throws Refusal SELF_VALIDATION */
function assertByAnother(actor: Actor, { agent_name }: ValidationSignal): void {
  if (actor.type !== 'agent' || actor.name !== agent_name) return;
  throw new Refusal('SELF_VALIDATION', `The work of ${agent_name} is to be validated by somebody else.`);
}

/** @throws Refusal QUESTION_MISMATCH */
function assertOwn({ control: { run_id, agent_name } }: Agent, question: QuestionRow): void {
  if (question.run_id !== run_id || question.agent_name !== agent_name) {
    throw new Refusal(
      'QUESTION_MISMATCH',
      `The question ${question.question_id} was not asked by ${agent_name} in ${run_id}.`,
    );
  }
}
