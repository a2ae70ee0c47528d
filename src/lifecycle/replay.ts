import {
  blankControl,
  type ControlRow,
  changed,
  changeOf,
  controlThreadId,
  isOfAgent,
} from '../control/agent-state.ts';
import type { RunBrief } from '../control/brief.ts';
import { briefOf, type RunRow, withAgentChanged } from '../control/run-state.ts';
import type { EventType } from '../events/event-types.ts';
import type { Event } from '../events/schemas.ts';
import type { EventDraft } from '../events/service.ts';
import type { NewItem } from '../inbox/service.ts';
import { type Priority, priorityRank } from '../priority.ts';
import type { ApprovalRow } from '../questions/approvals.ts';
import { isForAgent, needsApprovals, type QuestionRow, questionAfter } from '../questions/question.ts';
import { approvalsAfter } from '../questions/standing.ts';
import { blankThread, isPerson, newsOf, project, type ThreadRow } from '../threads/thread.ts';

/** Rows of one run, as far as events of a batch change them. */
export interface Rows {
  run: RunRow;
  threads: Map<string, ThreadRow>;
  /** By name. */
  agents: Map<string, ControlRow>;
  questions: Map<string, QuestionRow>;
  /** Of questions that two people must answer, by question; the oldest first. */
  approvals: Map<string, readonly ApprovalRow[]>;
  /** New items of inboxes. */
  items: NewItem[];
  /** Questions whose ends were received. */
  received: string[];
}

/** An event does not follow from those before it. */
export class Inconsistent extends Error {
  override readonly name = 'Inconsistent';
}

/**
 * Computes the rows after the next event of a thread, by the functions that the services compute them with. Versions count
 * events here, not acts.
 * @throws Inconsistent
 */
export function replay(rows: Rows, event: Event): void {
  const { sequence, thread_id, run_id, agent_name } = event;
  const draft = toDraft(event);
  const before = threadBefore(rows, draft, String(thread_id));
  if (before.run_id !== run_id || before.agent_name !== agent_name)
    throw new Inconsistent(`its thread ${thread_id} is one of other names`);
  const thread = project(before, [draft], [sequence]);
  rows.threads.set(thread.thread_id, thread);
  if (thread.kind === 'discussion') return;
  if (isOfAgent(draft)) replayAct(rows, draft, thread, sequence);
  replayNews(rows, draft, thread, sequence);
}

/** The event as it was drafted. */
export function toDraft({ event_id, event_type, occurred_at, actor, payload, ...event }: Event): EventDraft {
  const { thread_id, run_id, agent_name, ticket, correlation_id, causation_id } = event;
  return {
    uid: event_id.replace(/^evt_/, ''),
    event_type: event_type as EventType,
    occurred_at: Date.parse(occurred_at),
    thread: { thread_id, run_id, agent_name, ticket },
    actor,
    correlation_id,
    causation_id,
    payload,
  };
}

/** The brief in the payload of its event. */
export function briefIn({ ticket, title, done_criteria, agents }: Event['payload']): RunBrief {
  return { ticket, title, done_criteria, agents } as RunBrief;
}

/** The thread before an event; a blank one for its first. */
function threadBefore({ threads }: Rows, draft: EventDraft, thread_id: string): ThreadRow {
  const { event_type, payload, actor, occurred_at } = draft;
  const { run_id, agent_name, ticket } = draft.thread;
  const known = threads.get(thread_id);
  const opens = event_type === 'forum.thread.opened';
  if (known && opens) throw new Inconsistent(`its thread ${thread_id} is open already`);
  if (known) return known;
  if (!opens) throw new Inconsistent(`its thread ${thread_id} was not opened before`);
  const { kind, title, priority } = payload as { kind: ThreadRow['kind']; title: string; priority: Priority };
  if (kind === 'control' && thread_id !== controlThreadId(String(run_id), String(agent_name)))
    throw new Inconsistent(`${thread_id} is not the control thread of its run and agent`);
  const seed = { thread_id, kind, title, priority: priorityRank(priority), ticket, run_id, agent_name };
  return blankThread({ ...seed, actor, now: occurred_at });
}

/** The question, the agent and the run after an event of the agent's control thread. */
function replayAct(rows: Rows, draft: EventDraft, thread: ThreadRow, sequence: number): void {
  const { event_type, occurred_at, payload } = draft;
  const { run_id, agent_name } = thread as { run_id: string; agent_name: string };
  const id = payload.question_id as string | undefined;
  const known = id === undefined ? undefined : rows.questions.get(id);
  const approvals =
    known && needsApprovals(known) && approvalsAfter(rows.approvals.get(known.question_id) ?? [], draft, sequence);
  if (known && approvals) rows.approvals.set(known.question_id, approvals);
  // The last of the people who agree has answered, by a signal before this event.
  const answer = approvals && event_type === 'forum.question.answered' ? approvals.at(-1)?.sequence : undefined;
  const question = id === undefined ? undefined : questionAfter(known, draft, answer ?? sequence);
  if (id !== undefined && question?.run_id !== run_id)
    throw new Inconsistent(`its question ${id} was not asked before`);
  if (question) rows.questions.set(question.question_id, question);
  const received = event_type === 'forum.question.acknowledged' && question && isForAgent(question.state) ? 1 : 0;
  const before = rows.agents.get(agent_name) ?? blankControl(run_id, agent_name);
  const after = changed(before, { ...changeOf([draft], briefOf(rows.run)), received }, sequence);
  rows.agents.set(agent_name, after);
  rows.run = withAgentChanged(rows.run, before, after, { sequence, occurred_at, ticket: thread.ticket });
}

/** What the event means for the inbox of the agent. */
function replayNews(rows: Rows, draft: EventDraft, thread: ThreadRow, sequence: number): void {
  const news = newsOf(draft);
  if (!news || ('posted' in news && !isPerson(news.posted))) return;
  if ('received' in news) {
    rows.received.push(news.received);
    return;
  }
  const { run_id, agent_name } = thread as { run_id: string; agent_name: string };
  const question_id = 'ended' in news ? news.ended : null;
  rows.items.push({ run_id, agent_name, sequence, created_at: draft.occurred_at, question_id });
  const agent = rows.agents.get(agent_name);
  if (!agent) throw new Inconsistent(`its agent ${agent_name} has sent no signal`);
  if (question_id === null) rows.agents.set(agent_name, { ...agent, unread: agent.unread + 1 });
}
