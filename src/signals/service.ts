import { isDeepStrictEqual } from 'node:util';
import { actorMismatch, anonymous, type Caller, selfValidationRefused } from '../access/caller.ts';
import type { Actor } from '../actor.ts';
import { toTimestamp } from '../clock.ts';
import { type Agent, assertOpen, type Control, ticketed } from '../control/service.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import type { Touched } from '../db/group-commit.ts';
import { Refusal } from '../errors.ts';
import type { Event } from '../events/schemas.ts';
import type { EventDraft, EventLog } from '../events/service.ts';
import { foldName } from '../fold-name.ts';
import { assertPrecondition, type Precondition } from '../precondition.ts';
import { answerText, type QuestionRow, questionNotFound } from '../questions/question.ts';
import type { Answer, Question } from '../questions/schemas.ts';
import type { QuestionService } from '../questions/service.ts';
import { toThread } from '../threads/thread.ts';
import type {
  AnswerCommand,
  AskCommand,
  CompleteCommand,
  ControlType,
  SignalCommand,
  SignalVersion,
  ValidateCommand,
  VersionList,
} from './command.ts';
import type { Signal, SignalResult } from './schemas.ts';

export type SignalService = ReturnType<typeof createSignals>;

/** `created` is false for a repeated answer, which stores nothing. */
export interface Accepted extends SignalResult {
  created: boolean;
}

interface Dependencies {
  db: Database;
  events: EventLog;
  control: Control;
  questions: QuestionService;
  versions: VersionList;
  /** Whether an agent may validate its own work. */
  selfValidation: boolean;
  /** Called after a signal of the type is committed. */
  stored: Record<ControlType, () => void>;
}

/**
 * Takes control signals. Each one reads its agent and makes all checks. Only then it writes events, thread, control
 * state and question, in one transaction.
 */
export function createSignals({ db, events, control, questions, versions, selfValidation, stored }: Dependencies) {
  /** Stores a signal. @throws Refusal with a code of `POST /control-signals`; then nothing is stored */
  async function accept(tx: Tx, command: SignalCommand): Promise<Accepted> {
    const result = await dispatch(tx, command);
    if (result.created) tx.afterCommit(stored[command.control_type]);
    return result;
  }

  async function dispatch(tx: Tx, command: SignalCommand): Promise<Accepted> {
    const actor = command.actor ?? defaultActor(command);
    const agent = await control.load(tx, command.run_id, command.agent_name, actor, command.ticket ?? null);
    switch (command.control_type) {
      case 'guidance_request':
        return ask(tx, agent, actor, command);
      case 'guidance_answer':
        return answerQuestion(tx, agent, actor, command);
      case 'completion':
      case 'validation':
        return report(tx, agent, actor, command);
    }
  }

  async function ask(tx: Tx, agent: Agent, actor: Actor, command: AskCommand): Promise<Accepted> {
    assertAccepts(agent, command);
    const cause = draftOf(agent, actor, command);
    const { question, ...recorded } = await questions.ask(tx, agent, cause, command);
    return accepted(tx, cause, recorded, question);
  }

  async function answerQuestion(tx: Tx, agent: Agent, actor: Actor, command: AnswerCommand): Promise<Accepted> {
    const { ownTerminal, isMessage, ...given } = { ...command, answer: answerText(command) };
    const asked = await questions.repliedTo(tx, agent, given.in_reply_to);
    if (ownTerminal) await assertFromSession(tx, asked);
    const before = await questions.givenBefore(tx, asked, actor, { ...given, isMessage });
    if (before !== undefined) return repeated(tx, agent, asked, before);
    assertAccepts(agent, given);
    const cause = draftOf(agent, actor, given);
    const { question, ...recorded } = await questions.answer(tx, agent, cause, asked, { ...given, isMessage });
    return accepted(tx, cause, recorded, question);
  }

  /** A person can have answered in a terminal only if the question was asked in one. @throws Refusal FORBIDDEN */
  async function assertFromSession(tx: Tx, asked: QuestionRow): Promise<void> {
    const { source } = await questions.view(tx, asked);
    if (source?.session_id !== undefined) return;
    const detail = 'An agent can pass on the answer from a terminal only to a question with source.session_id.';
    throw new Refusal('FORBIDDEN', detail);
  }

  async function report(
    tx: Tx,
    agent: Agent,
    actor: Actor,
    command: CompleteCommand | ValidateCommand,
  ): Promise<Accepted> {
    assertAccepts(agent, command);
    const cause = draftOf(agent, actor, command);
    return accepted(tx, cause, await control.record(tx, agent, [cause]));
  }

  /** The event of a signal: the envelope, and the rest of the command as its payload. */
  function draftOf(agent: Agent, actor: Actor, command: SignalCommand): EventDraft {
    const thread = ticketed(agent);
    const { attempt } = agent.control;
    const { run_id: _run, agent_name: _agent, actor: _actor, ticket = thread.ticket, ...sent } = command;
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

  async function accepted(
    tx: Tx,
    cause: EventDraft,
    { agent, sequence }: { agent: Agent; sequence: number },
    question?: QuestionRow,
  ): Promise<Accepted> {
    const signal = toSignal({ ...cause, ...cause.thread, sequence, occurred_at: toTimestamp(cause.occurred_at) });
    return { created: true, signal, ...(await consequences(tx, agent, question)) };
  }

  async function repeated(tx: Tx, agent: Agent, question: QuestionRow, sequence: number): Promise<Accepted> {
    const first = (await events.at(tx, [sequence])).get(sequence);
    if (!first) throw new Error(`The event ${sequence} that answered ${question.question_id} is missing.`);
    return { created: false, signal: toSignal(first), ...(await consequences(tx, agent, question)) };
  }

  /** The current state beside a signal, as its answer shows it. */
  async function consequences(reader: Reader, agent: Agent, question?: QuestionRow) {
    return {
      thread: toThread(agent.thread),
      control: await control.view(reader, agent),
      inbox: { unread: agent.control.unread },
      ...(question && { question: await questions.view(reader, question) }),
    };
  }

  /** The event of a signal. @throws Refusal SIGNAL_NOT_FOUND */
  async function required(reader: Reader, signalId: string): Promise<Event> {
    const event = signalId.startsWith('sig_') ? await events.find(reader, signalId.replace('sig_', 'evt_')) : undefined;
    if (event?.event_type !== 'forum.control.signal') throw signalNotFound(signalId);
    return event;
  }

  async function result(reader: Reader, signalId: string): Promise<SignalResult> {
    const signal = toSignal(await required(reader, signalId));
    const agent = await control.required(reader, signal.run_id, signal.agent_name);
    const question = signal.question_id ? await questions.required(reader, signal.question_id) : undefined;
    return { signal, ...(await consequences(reader, agent, question)) };
  }

  /** @throws Refusal UNSUPPORTED_SCHEMA_VERSION */
  function versionOf(body: unknown): SignalVersion {
    const named = (body as { schema_version?: unknown } | null)?.schema_version;
    if (!Number.isInteger(named)) return versions[0];
    const found = versions.find(({ version }) => version === named);
    if (found) return found;
    const supported = versions.map(({ version }) => version);
    const detail = `Schema version ${named} is not supported; supported: ${supported.join(', ')}.`;
    throw new Refusal('UNSUPPORTED_SCHEMA_VERSION', detail, { supported });
  }

  return {
    accept,
    versions,
    /** The schema version that a body names. */
    versionOf,

    /**
     * The command of a body that fits its version, with the actor that its caller acts as. Without a caller (a
     * message), the actor is the one that it names.
     * @throws Refusal FORBIDDEN, ACTOR_MISMATCH, SELF_VALIDATION, VALIDATION_FAILED
     */
    commandOf(body: unknown, caller: Caller = anonymous): SignalCommand {
      const command = versionOf(body).toCommand(body);
      const { run_id, agent_name, control_type } = command;
      if (control_type === 'validation') caller.assertValidates(run_id, agent_name, selfValidation);
      else caller.assertActsFor(run_id, agent_name);
      if (control_type === 'guidance_answer' && caller.isAgent) return { ...command, ...ownTerminal(caller, command) };
      const actor = caller.isBoundTo(agent_name)
        ? caller.actor(command.actor, agent_name)
        : caller.requiredActor(command.actor);
      const signed = actor ? { ...command, actor } : command;
      // An agent's token is judged by its binding, above.
      if (control_type === 'validation' && !selfValidation && !caller.isAgent) assertByAnother(signed);
      return signed;
    },

    /** What `accept` reads and changes: its own run only. */
    touches: ({ run_id }: SignalCommand): Touched[] => [`run ${run_id}`],

    /** Answers a question by a `guidance_answer` that names it. @throws Refusal as {@link accept}, and PRECONDITION_FAILED */
    async answer(
      tx: Tx,
      questionId: string,
      given: Omit<Answer, 'answered_in'> & Pick<AnswerCommand, 'answered_in'>,
      expected: Precondition,
      caller: Caller,
    ): Promise<Question> {
      const { run_id, agent_name, version } = await questions.required(tx, questionId);
      // An agent must not learn that a question of another run exists.
      if (!caller.sees(run_id)) throw questionNotFound(questionId);
      if (caller.isAgent) caller.assertActsFor(run_id, agent_name);
      const actor = caller.isAgent ? undefined : caller.actor(given.actor);
      assertPrecondition(expected, version);
      const command: AnswerCommand = {
        schema_version: 1,
        control_type: 'guidance_answer',
        run_id,
        agent_name,
        in_reply_to: questionId,
        ...given,
        ...(actor && { actor }),
        ...(caller.isAgent && ownTerminal(caller, given)),
      };
      const { question } = await accept(tx, command);
      return question as Question;
    },

    /** A stored signal with the current state. @throws Refusal SIGNAL_NOT_FOUND */
    result,

    /** As `result`, outside a write. */
    refreshed: ({ signal }: SignalResult): Promise<SignalResult> =>
      db.snapshot(reader => result(reader, signal.signal_id)),

    /** @throws Refusal SIGNAL_NOT_FOUND */
    async get(signalId: string): Promise<Signal> {
      return toSignal(await required(db.read, signalId));
    },
  };
}

function defaultActor(command: SignalCommand): Actor {
  if (command.control_type !== 'guidance_answer') return { type: 'agent', name: command.agent_name };
  return command.answered_in === 'terminal' ? terminal : { type: 'operator', name: 'operator' };
}

/** The person at the terminal that an agent's session runs in. */
const terminal: Actor = { type: 'human', name: 'terminal' };

/**
 * What an agent adds to the answer of its own question: a person gave it, in the terminal of its session.
 * @throws Refusal FORBIDDEN for an answer that was given elsewhere, ACTOR_MISMATCH
 */
function ownTerminal(caller: Caller, { answered_in, actor }: Pick<AnswerCommand, 'answered_in' | 'actor'>) {
  if (answered_in !== 'terminal') caller.assertNoAgent('answer questions');
  if (actor && !isDeepStrictEqual(actor, terminal)) throw actorMismatch(actor, terminal);
  return { actor: terminal, ownTerminal: true as const };
}

/** @throws Refusal RUN_CLOSED, THREAD_CLOSED, STALE_ATTEMPT */
function assertAccepts(agent: Agent, { attempt }: SignalCommand): void {
  assertOpen(agent);
  const current = agent.control.attempt;
  if (attempt === undefined || attempt === current) return;
  throw new Refusal('STALE_ATTEMPT', `The signal names attempt ${attempt}; the current one is ${current}.`, {
    attempt: current,
  });
}

/** Where no token tells who validates, the name of the actor does. @throws Refusal SELF_VALIDATION */
function assertByAnother(command: SignalCommand): void {
  const { type, name } = command.actor ?? defaultActor(command);
  if (type === 'agent' && foldName(name) === foldName(command.agent_name)) {
    throw selfValidationRefused(command.agent_name);
  }
}

type SignalEvent = Omit<Event, 'event_id' | 'event_type' | 'event_version' | 'token_id'>;

/** A signal is an event: the payload holds the command's own fields, the envelope the others. */
function toSignal(event: SignalEvent): Signal {
  const { sequence, thread_id, occurred_at, run_id, agent_name, ticket, actor, correlation_id, causation_id } = event;
  const { signal_id, ...sent } = event.payload;
  return {
    signal_id,
    sequence,
    thread_id,
    occurred_at,
    run_id,
    agent_name,
    ticket,
    actor,
    correlation_id,
    causation_id,
    ...sent,
  } as Signal;
}

export function signalNotFound(signalId: string): Refusal {
  return new Refusal('SIGNAL_NOT_FOUND', `There is no control signal ${signalId}.`);
}
