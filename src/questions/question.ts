import { type Actor, actorText, parseActor } from '../actor.ts';
import { toTimestamp, toTimestampOrNull } from '../clock.ts';
import type { Erasable } from '../db/erasing.ts';
import type { Row } from '../db/schema.ts';
import { Refusal } from '../errors.ts';
import { headOf } from '../events/heads.ts';
import type { Event } from '../events/schemas.ts';
import type { EventDraft } from '../events/service.ts';
import { type Priority, priorityAt, priorityRank } from '../priority.ts';
import { normalName } from '../text.ts';
import { type ApprovalRow, agreesWith, toApproval } from './approvals.ts';
import type { AnswerPlace, Question, QuestionHead, QuestionState, Source } from './schemas.ts';

/** A question as stored. */
export type QuestionRow = Row<'questions'> & Erasable;

/** Whether two people must answer the question. */
export function needsApprovals({ approvals_required }: Pick<QuestionRow, 'approvals_required'>): boolean {
  return approvals_required > 1;
}

/** The fields of a guidance request that its event carries. */
export interface Asked {
  question: string;
  context?: string;
  options?: { label: string; description?: string }[];
  multi_select?: boolean;
  priority?: Priority;
  expires_in_seconds?: number;
  default_answer?: string;
  /** The labels that the default selects. */
  default_selected?: string[];
  /** 0 is never; if left out, the priority decides. */
  remind_after_seconds?: number;
  /** The id of the open question that this one replaces. */
  supersedes?: string;
  source?: Source;
  /** How many people must give the same answer; 1 if left out. */
  approvals?: number;
}

/** After how long an open question is called to mind if its agent does not say. Seconds; 0 is never. */
const REMIND_AFTER_SECONDS: Record<Priority, number> = { urgent: 300, high: 1800, normal: 14_400, low: 0 };

/** The fields of a guidance request that its default has to fit. */
export type Defaulted = Partial<Pick<Asked, 'options' | 'multi_select' | 'default_answer' | 'default_selected'>>;

export interface GivenAnswer {
  answer: string;
  selected?: string[] | undefined;
  answered_in?: AnswerPlace | undefined;
  /** It came as a message. */
  isMessage?: true | undefined;
}

/**
 * The text of an answer; without one, the selected labels.
 * @throws Refusal VALIDATION_FAILED if there is neither
 */
export function answerText({ answer, selected = [] }: { answer?: string; selected?: string[] }): string {
  if (answer !== undefined) return answer;
  if (selected.length > 0) return labelsText(selected);
  const detail = 'is required without selected';
  throw new Refusal('VALIDATION_FAILED', `body/answer: ${detail}`, {
    errors: [{ in: 'body', pointer: '/answer', code: 'REQUIRED', detail }],
  });
}

/** The text of selected labels. Their order does not matter, so it is always the same. */
function labelsText(selected: readonly string[]): string {
  return selected.toSorted().join(', ');
}

/** A question before its event has a sequence. */
type NewQuestion = Pick<
  QuestionRow,
  | 'question_id'
  | 'thread_id'
  | 'run_id'
  | 'agent_name'
  | 'ticket'
  | 'priority'
  | 'asked_at'
  | 'expires_at'
  | 'has_default'
  | 'remind_at'
  | 'approvals_required'
>;

/** The question of a guidance request. @param cause its event, whose payload has the `question_id` */
export function newQuestion({ thread, occurred_at, payload }: Caused): NewQuestion {
  const {
    question_id,
    expires_in_seconds,
    remind_after_seconds,
    approvals = 1,
    ...asked
  } = payload as unknown as Asked & Pick<NewQuestion, 'question_id'>;
  const priority = asked.priority ?? 'normal';
  const remindAfter = remind_after_seconds ?? REMIND_AFTER_SECONDS[priority];
  return {
    question_id,
    thread_id: thread.thread_id as string,
    run_id: thread.run_id as string,
    agent_name: thread.agent_name as string,
    ticket: thread.ticket,
    priority: priorityRank(priority),
    asked_at: occurred_at,
    expires_at: expires_in_seconds ? occurred_at + expires_in_seconds * 1000 : null,
    has_default: (asked.default_answer ?? asked.default_selected) === undefined ? 0 : 1,
    remind_at: remindAfter === 0 ? null : occurred_at + remindAfter * 1000,
    approvals_required: approvals,
  };
}

/** The part of an event that its question depends on. */
export type Caused = Pick<EventDraft, 'event_type' | 'thread' | 'occurred_at' | 'actor' | 'payload'>;

export function opened(row: NewQuestion, supersedes: string | null, asked_sequence: number): QuestionRow {
  return {
    ...row,
    state: 'open',
    phase: 0,
    asked_sequence,
    supersedes,
    answer_sequence: null,
    answer: null,
    selected: null,
    answered_by: null,
    answered_at: null,
    answered_in: null,
    default_applied: 0,
    acknowledged_at: null,
    version: 1,
  };
}

export function answered(
  row: QuestionRow,
  given: GivenAnswer,
  actor: Actor,
  now: number,
  sequence: number,
): QuestionRow {
  return {
    ...closedAs(row, 'answered'),
    answer_sequence: sequence,
    answer: given.answer,
    selected: selectedText(given),
    answered_by: actorText(actor),
    answered_at: now,
    answered_in: answerPlaceOf(given),
  };
}

/** The question after an approval that does not end it. */
export function approved(row: QuestionRow): QuestionRow {
  return { ...row, version: row.version + 1 };
}

export function closedAs(row: QuestionRow, state: Exclude<QuestionState, 'open'>): QuestionRow {
  return { ...row, state, phase: phaseOf(state, false), version: row.version + 1 };
}

/** The question after its agent has acknowledged its outcome. */
export function acknowledged(row: QuestionRow, acknowledged_at: number): QuestionRow {
  const phase = phaseOf(row.state as QuestionState, true);
  return { ...row, acknowledged_at, phase, version: row.version + 1 };
}

/**
 * The question after an event of its control thread; undefined before its request.
 * @param sequence of the event; of one that answers a question of two people, that of the answer's signal
 */
export function questionAfter(row: QuestionRow | undefined, event: Caused, sequence: number): QuestionRow | undefined {
  const { event_type, payload, actor, occurred_at } = event;
  if (payload.control_type === 'guidance_request')
    return opened(newQuestion(event), (payload.supersedes as string | undefined) ?? null, sequence);
  if (!row) return undefined;
  if (payload.control_type === 'guidance_answer' && !needsApprovals(row))
    return answered(row, payload as unknown as GivenAnswer, actor, occurred_at, sequence);
  switch (event_type) {
    case 'forum.question.approved':
      return approved(row);
    case 'forum.question.answered':
      return needsApprovals(row) ? answered(row, payload as unknown as GivenAnswer, actor, occurred_at, sequence) : row;
    case 'forum.question.expired':
      return expired(row);
    case 'forum.question.cancelled':
      return closedAs(row, 'cancelled');
    case 'forum.question.superseded':
      return closedAs(row, 'superseded');
    case 'forum.question.acknowledged':
      return acknowledged(row, occurred_at);
    case 'forum.question.reminded':
      return { ...row, remind_at: null };
    default:
      return row;
  }
}

/**
 * The phases of each state: before and after the acknowledgement. A phase is what indexes have in place of the state, so
 * that one index serves lists of both.
 */
const phases: Record<QuestionState, readonly [number, number]> = {
  open: [0, 0],
  answered: [1, 2],
  expired: [3, 4],
  cancelled: [5, 6],
  superseded: [7, 7],
};

function phaseOf(state: QuestionState, acknowledged: boolean): number {
  return phases[state][acknowledged ? 1 : 0];
}

/** The phases of the questions in a list, ascending. `unacknowledged`: only ended ones that are news for their agents. */
export function phasesOf({
  state,
  unacknowledged,
}: {
  state?: string | undefined;
  unacknowledged?: boolean | undefined;
}) {
  const states = state === undefined ? (Object.keys(phases) as QuestionState[]) : [state as QuestionState];
  const wanted = unacknowledged
    ? states.filter(isForAgent).map(state => phaseOf(state, false))
    : states.flatMap(state => phases[state]);
  return [...new Set(wanted)];
}

/** The text of a question that a search looks through. @param asked the payload of its guidance request's event */
export function searchText(asked: Event['payload']): string {
  const { question, context = '', options = [] } = asked as unknown as Asked;
  return [question, ...options.map(({ label }) => label), context].join('\n');
}

/** The question after its expiry. A default may stand in; it is no answer by anybody. */
export function expired(row: QuestionRow): QuestionRow {
  return { ...closedAs(row, 'expired'), default_applied: row.has_default };
}

/** Whether this end is news for the agent. A superseded question is not: the agent replaced it itself. */
export function isForAgent(state: string): boolean {
  return state === 'answered' || state === 'expired' || state === 'cancelled';
}

/** Whether the question already has this answer, be it the answer of both people. The order of selected labels does not matter. */
export function isStoredAnswer(row: QuestionRow, given: GivenAnswer): boolean {
  if (row.state !== 'answered') return false;
  const said = { answer: given.answer, selected: selectedText(given) };
  return needsApprovals(row) ? agreesWith(row, said) : row.answer === said.answer && row.selected === said.selected;
}

/** Where an answer was given. */
export function answerPlaceOf({ answered_in = 'api' }: GivenAnswer): AnswerPlace {
  return answered_in;
}

/** The stored form of selected labels. */
export function selectedText({ selected = [] }: Pick<GivenAnswer, 'selected'>): string {
  return JSON.stringify([...selected].sort());
}

/** @throws Refusal INVALID_SELECTION for labels that the question does not offer, duplicates, or more than one of a single choice */
export function assertSelection(
  { options, multi_select }: Pick<Question, 'options' | 'multi_select'>,
  { selected = [] }: GivenAnswer,
): void {
  const labels = options.map(option => option.label);
  const unknown = selected.filter(label => !labels.includes(label));
  if (unknown.length > 0) {
    const choice = labels.length > 0 ? `its options are ${labels.join(', ')}` : 'it has no options';
    throw new Refusal('INVALID_SELECTION', `The question does not offer ${unknown.join(', ')}; ${choice}.`, {
      options: labels,
    });
  }
  if (new Set(selected).size < selected.length) throw new Refusal('INVALID_SELECTION', 'An option is selected twice.');
  if (selected.length > 1 && !multi_select) {
    throw new Refusal('INVALID_SELECTION', 'The question takes one option only.', { options: labels });
  }
}

/**
 * The text of a question's default. With options, it is one of their labels, or those that it selects.
 * @throws Refusal INVALID_SELECTION
 */
export function defaultText({
  options = [],
  multi_select = false,
  default_answer,
  default_selected,
}: Defaulted): string | undefined {
  if (default_selected) assertSelection({ options, multi_select }, { answer: '', selected: default_selected });
  if (default_answer === undefined) return default_selected && labelsText(default_selected);
  if (options.length === 0) return default_answer;
  const labels = default_selected ?? options.map(option => option.label);
  const label = normalName(default_answer);
  if (labels.includes(label)) return label;
  const choice = `${default_selected ? 'default_selected' : 'its options'}: ${labels.join(', ')}`;
  throw new Refusal('INVALID_SELECTION', `The default answer of a question with options is one of ${choice}.`, {
    options: options.map(option => option.label),
  });
}

/** @throws Refusal ALREADY_ANSWERED with the winner, or QUESTION_CLOSED with the state, unless the question is open */
export function assertOpenQuestion(row: QuestionRow): void {
  if (row.state === 'answered') {
    throw new Refusal(
      'ALREADY_ANSWERED',
      `The question ${row.question_id} was answered before; the first answer stands.`,
      {
        question_id: row.question_id,
        ...winner(row),
      },
    );
  }
  if (row.state !== 'open') {
    const { question_id, state } = row;
    throw new Refusal('QUESTION_CLOSED', `The question ${question_id} is ${state}.`, { question_id, state });
  }
}

function winner(row: QuestionRow) {
  const { answer, selected } = row.erasing ? { answer: row.answer && '', selected: null } : row;
  return {
    answer,
    selected: JSON.parse(selected ?? '[]') as string[],
    answered_by: row.answered_by === null ? null : parseActor(row.answered_by),
    answered_at: toTimestampOrNull(row.answered_at),
    // Answers of old versions came over the API, and do not say so.
    answered_in: row.answered_by === null ? null : (row.answered_in ?? 'api'),
  };
}

/**
 * The wire form of a question.
 * @param asked the payload of its guidance request's event
 * @param approvals of this question, oldest first
 */
export function toQuestion(
  row: QuestionRow,
  asked: Event['payload'],
  approvals: readonly ApprovalRow[] = [],
): Question {
  const { question, context, options, multi_select, default_answer, default_selected, source } =
    asked as unknown as Asked;
  return {
    question_id: row.question_id,
    run_id: row.run_id,
    agent_name: row.agent_name,
    thread_id: row.thread_id,
    state: row.state as QuestionState,
    version: row.version,
    question,
    context: context ?? null,
    options: options ?? [],
    multi_select: multi_select ?? false,
    priority: priorityAt(row.priority),
    asked_at: toTimestamp(row.asked_at),
    expires_at: toTimestampOrNull(row.expires_at),
    default_answer: default_answer ?? null,
    default_selected: default_selected ?? [],
    default_applied: row.default_applied === 1,
    ...winner(row),
    approvals_required: row.approvals_required,
    approvals: approvals.map(approval => toApproval(approval, Boolean(row.erasing))),
    acknowledged_at: toTimestampOrNull(row.acknowledged_at),
    supersedes: row.supersedes,
    source: source ?? null,
    ...(asked.erased === true && { erased: true }),
  };
}

/**
 * The head of a question, for answers that embed it among others.
 * @param asked the head of the payload of its guidance request's event
 * @param approvals as for `toQuestion`
 */
export function toQuestionHead(
  row: QuestionRow,
  asked: Event['payload'],
  approvals?: readonly ApprovalRow[],
): QuestionHead {
  const cut = Object.fromEntries(Object.entries(asked).filter(([name]) => name.endsWith('_truncated')));
  const { approvals: given, ...question } = toQuestion(row, asked, approvals);
  const heads = given.map(({ answer, ...approval }) => ({
    ...approval,
    ...(headOf({ answer }) as { answer: string }),
  }));
  return { ...question, approvals: heads, ...cut };
}

/**
 * The payload of `forum.question.opened`: all that a consumer needs to put the question to people.
 * @param runTitle the title in the run's brief
 */
export function openedPayload(row: NewQuestion, asked: Asked, runTitle: string | null): Event['payload'] {
  const { question, context, options, multi_select, default_answer, default_selected } = asked;
  return {
    question_id: row.question_id,
    question,
    context: context ?? null,
    options: options ?? [],
    multi_select: multi_select ?? false,
    priority: priorityAt(row.priority),
    expires_at: toTimestampOrNull(row.expires_at),
    default_answer: default_answer ?? null,
    default_selected: default_selected ?? [],
    supersedes: asked.supersedes ?? null,
    source: asked.source ?? null,
    approvals_required: row.approvals_required,
    run_title: runTitle,
  };
}

/**
 * The payload of an event that ends a question, with the head of the question.
 * @param asked the head of the payload of its guidance request's event
 * @param outcome what the event says beside the question
 * @param runTitle the title in the run's brief
 */
export function endedPayload(
  { question_id }: QuestionRow,
  asked: Event['payload'],
  outcome: Event['payload'],
  runTitle: string | null,
): Event['payload'] {
  const { question, question_truncated, options = [], source = null } = asked;
  return { question_id, question, question_truncated, options, source, ...outcome, run_title: runTitle };
}

/** The draft of an event about a question, with the question's ticket if it has one. */
export function withTicketOf({ ticket }: Pick<QuestionRow, 'ticket'>, draft: EventDraft): EventDraft {
  return { ...draft, thread: { ...draft.thread, ticket: ticket ?? draft.thread.ticket } };
}

/** What the event of an expiry says beside the question. @param asked as for `endedPayload` */
export function expiryOutcome({ default_applied }: QuestionRow, asked: Event['payload']): Event['payload'] {
  const { default_answer, default_answer_truncated, default_selected } = asked;
  return { default_applied: default_applied === 1, default_answer, default_answer_truncated, default_selected };
}

export function questionNotFound(questionId: string): Refusal {
  return new Refusal('QUESTION_NOT_FOUND', `There is no question ${questionId}.`);
}
