import type { Actor } from '../../actor.ts';
import type { Event } from '../../events/schemas.ts';
import { printable } from '../../printable.ts';
import type { Question } from '../../questions/schemas.ts';

type Approval = Pick<Question['approvals'][number], 'answered_by' | 'answer'>;

/** Approvals that a message names. */
const APPROVALS = 3;

/** What a message is about: an event, or a test. */
export type Told = Pick<Event, 'event_id' | 'event_type' | 'agent_name' | 'run_id' | 'payload' | 'actor'>;

/** What people are told of an event. */
export interface Notice {
  event_id: string;
  event_type: string;
  /** Of a question, the same for all that is told of it; otherwise the title. */
  subject: string;
  /** Undefined if it is not about a question. */
  question_id: string | undefined;
  title: string;
  /** Lines. */
  text: string;
  /** Labels of the options, each in one line; none of a question that has ended. */
  options: string[];
  /** The same as lines. */
  list: string;
  /** A press on a button of an option may answer. */
  takesPress: boolean;
  isUrgent: boolean;
  /** The question waits. */
  isOpen: boolean;
}

/** Events that say that a question waits: when it has closed, they are not worth sending. */
export const WAITING_TYPES: readonly string[] = [
  'forum.question.opened',
  'forum.question.approved',
  'forum.question.reminded',
];

interface QuestionPayload {
  question_id?: string;
  question?: string;
  context?: string | null;
  options?: { label: string }[];
  multi_select?: boolean;
  answer?: string;
  default_applied?: boolean;
  default_answer?: string | null;
  expires_at?: string | null;
  run_title?: string | null;
  priority?: string;
  approvals_required?: number;
  approvals?: Approval[];
  approved_by?: Actor[];
}

/** The notice of an event. @param length of its text and its list of options together, in characters */
export function noticeOf(told: Told, length: number): Notice {
  const { event_id, event_type, agent_name, run_id, payload, actor } = told;
  const { question = '', context, options = [], answer, ...rest } = payload as QuestionPayload;
  const who = agent_name === null ? 'Forumbus' : `${agent_name} in ${run_id}`;
  const titles: Record<string, string> = {
    'forum.question.opened': `${who} asks`,
    'forum.question.approved': `${who} needs the same answer of another person`,
    'forum.question.reminded': `${who} still waits`,
    'forum.question.answered': `${who} has an answer`,
    'forum.question.expired': `The question of ${who} expired`,
    'forum.question.cancelled': `The question of ${who} is cancelled`,
    'forum.question.superseded': `${who} replaced a question`,
    'forum.webhook.ping': `A test of the webhook ${payload.name}`,
    'forum.webhook.disabled': `The webhook ${payload.name} is disabled (${payload.reason})`,
    'forum.webhook.recovered': `The webhook ${payload.name} works again`,
  };
  const isOpen = WAITING_TYPES.includes(event_type);
  const isForTwo = (rest.approvals_required ?? 1) > 1;
  const people = rest.approved_by ?? [actor];
  const labels = isOpen ? options.map(({ label }) => cutText(label, 200)) : [];
  const list = cutText(labels.map(label => `- ${label}`).join('\n'), Math.floor(length / 2));
  const room = length - list.length - 1;
  // A long text leaves room for the others; the context is last, and gets what is left.
  const part = Math.floor(room * (answer === undefined ? 0.7 : 0.4));
  const lines = [
    ...(question === '' ? [] : [cutText(question, part)]),
    ...(isOpen && isForTwo ? forTwo(rest.approvals ?? []) : []),
    ...(answer === undefined || isOpen
      ? []
      : [`Answer: ${cutText(answer, part)}`, `Answered by ${people.map(({ name }) => name).join(' and ')}`]),
    ...(rest.default_applied ? [`The default stands: ${cutText(rest.default_answer ?? '', part)}`] : []),
    ...(rest.expires_at ? [`Open until ${rest.expires_at}`] : []),
    ...(rest.run_title ? [`Run: ${cutText(rest.run_title, 200)}`] : []),
    ...(context ? ['', context] : []),
  ];
  const title = cutText(titles[event_type] ?? `${event_type.replace('forum.', '')}: ${who}`, 200);
  const [head = ''] = question.split('\n', 1);
  return {
    ...{ event_id, event_type, question_id: rest.question_id, isOpen, title },
    subject: question === '' ? title : cutText(`${who} asks: ${cutText(head, 100)}`, 300),
    text: cutText(lines.join('\n'), room),
    ...{ options: labels, list },
    takesPress: !rest.multi_select && !isForTwo,
    isUrgent: rest.priority === 'urgent' || rest.priority === 'high',
  };
}

/** How far a question is that two people must answer. */
function forTwo(approvals: readonly Approval[]): string[] {
  return [
    'Two people must give the same answer.',
    ...approvals
      .slice(-APPROVALS)
      .map(({ answered_by, answer }) => `${answered_by.name} answered: ${cutText(answer, 100)}`),
  ];
}

/** The text of a notice and its options, for a message that has no buttons for them. */
export function withOptions({ text, list }: Pick<Notice, 'text' | 'list'>): string {
  return [text, list].filter(part => part !== '').join('\n');
}

/** Whether buttons of this length show each option in full, so that two that begin alike are told apart. */
export function areWhole(options: readonly string[], length: number): boolean {
  return options.every(label => label.length <= length);
}

/** A text without what steers a display, cut to a length in UTF-16 code units. */
export function cutText(text: string, length: number): string {
  // A long text is not looked at beyond what is kept.
  const shown = text
    .slice(0, length + 1)
    .split(/\r?\n/)
    .map(printable)
    .join('\n');
  return shown.length <= length ? shown.toWellFormed() : `${shown.slice(0, length - 1).toWellFormed()}…`;
}
