import { normal } from './ask-key.ts';
import type { Event, EventQuery, Question, QuestionFilter, QuestionPage } from './types.ts';

interface Lists {
  questions: (filter: QuestionFilter) => Promise<QuestionPage>;
  events: (query: EventQuery) => Promise<{ items: Event[] }>;
}

interface Attempt {
  run_id: string;
  agent_name: string;
  attempt: number;
}

interface Asked {
  question: string;
  options?: readonly (string | { label: string })[] | undefined;
  approvals?: number | undefined;
}

/**
 * The question of an attempt that is meant, if it is open or the agent has not got its outcome. The service forgets
 * idempotency keys after a day, and a person may take longer.
 */
export async function findUnread(
  { questions, events }: Lists,
  { attempt, ...agent }: Attempt,
  isMeant: (question: Question) => boolean,
): Promise<Question | undefined> {
  const begun = { ...agent, event_type: 'forum.attempt.started', order: 'newest', limit: 1 } as const;
  const asked_after = attempt > 1 ? (await events(begun)).items[0]?.occurred_at : undefined;
  const filter = { ...agent, ...(asked_after !== undefined && { asked_after }) };
  return (
    (await findQuestion(questions, { ...filter, state: 'open' }, isMeant)) ??
    (await findQuestion(questions, { ...filter, unacknowledged: true }, isMeant))
  );
}

/** Tells the questions with the text, the options and the number of people of a request. */
export function isAlike({ question, options = [], approvals = 1 }: Asked): (question: Question) => boolean {
  const labels = JSON.stringify(options.map(labelOf));
  return other =>
    other.question === question &&
    JSON.stringify(other.options.map(labelOf)) === labels &&
    (other.approvals_required ?? 1) === approvals;
}

function labelOf(option: string | { label: string }): string {
  return normal(typeof option === 'string' ? option : option.label);
}

/** The first question of a list that is meant, on whichever page it stands; undefined if there is none. */
export async function findQuestion(
  list: (filter: QuestionFilter) => Promise<QuestionPage>,
  filter: QuestionFilter,
  isMeant: (question: Question) => boolean,
): Promise<Question | undefined> {
  for (let cursor: string | undefined; ; ) {
    const { items, next_cursor } = await list({ ...filter, limit: 200, ...(cursor !== undefined && { cursor }) });
    const found = items.find(isMeant);
    if (found || next_cursor === null) return found;
    cursor = next_cursor;
  }
}
