import type { StoredEvent } from './observe.ts';

/*
 * What the tables have to say, computed from the log alone. It shares no code with the service, so that a fault of its
 * projections shows. Columns that the log does not determine are left out: versions count acts, not events.
 */

type Values = Record<string, string | number | null>;

interface Agent {
  run_id: string;
  agent_name: string;
  thread_id: string;
  attempt: number;
  open: number;
  completion: number | null;
  validation: number | null;
  verdict: string | null;
  criteria: string;
  criteriaMet: boolean;
  withdrawn: number | null;
}

interface Run {
  opened: number;
  brief: { ticket: string | null; title: string | null; done_criteria: string | null; agents: string[] } | null;
  firstTicket: string | null;
  closed: number | null;
  erased: number | null;
}

/** The rows by their keys. */
export interface Recomputed {
  threads: Map<string, Values>;
  control_threads: Map<string, Values>;
  runs: Map<string, Values>;
  questions: Map<string, Values>;
  /** By sequence. What agents have acknowledged without an event, messages of people, is still there. */
  inbox_items: Map<string, Values>;
  /** By subject and value; without zeros. */
  counts: Map<string, Values>;
}

const RANKS = ['urgent', 'high', 'normal', 'low'];
/** Events that end a question, and the state that they leave it in. */
const ENDS: Record<string, string> = {
  'forum.question.answered': 'answered',
  'forum.question.cancelled': 'cancelled',
  'forum.question.superseded': 'superseded',
  'forum.question.expired': 'expired',
};
const TOLD = ['answered', 'cancelled', 'expired'];

export function recompute(events: readonly StoredEvent[]): Recomputed {
  const threads = new Map<string, Values>();
  const agents = new Map<string, Agent>();
  const runs = new Map<string, Run>();
  const questions = new Map<string, Values>();
  const inbox_items = new Map<string, Values>();
  const signals = new Map<string, number>();

  for (const event of events) {
    if (event.thread_id !== null) foldThread(threads, event);
    if (event.run_id === null) continue;
    const isControl = event.thread_id !== null && threads.get(event.thread_id)?.kind === 'control';
    if (event.thread_id !== null && !isControl) continue;
    foldRun(runs, agents, event);
    if (event.event_type === 'forum.run.erased') {
      for (const [key, { run_id }] of inbox_items) if (run_id === event.run_id) inbox_items.delete(key);
    }
    if (!isControl) continue;
    foldQuestion(questions, event);
    foldAgent(agents, runs, event);
    foldInbox(inbox_items, event);
    if (event.event_type === 'forum.control.signal') add(signals, String(event.payload.control_type));
  }

  return {
    threads: new Map([...threads].map(([id, thread]) => [id, { ...thread, place: placeOf(thread) }])),
    control_threads: new Map([...agents].map(([id, agent]) => [id, agentRow(agent)])),
    runs: new Map([...runs].map(([id, run]) => [id, runRow(run, ofRun(agents, id))])),
    questions,
    inbox_items,
    counts: countsOf(threads, signals),
  };
}

function foldThread(threads: Map<string, Values>, event: StoredEvent): void {
  const { event_type, sequence, actor, payload, occurred_at } = event;
  const id = event.thread_id as string;
  const isNew = !threads.has(id);
  const thread: Values = threads.get(id) ?? {
    ...{ kind: null, title: null, state: 'new', priority: 2, assignee: null, ticket: null, closed_at: null },
    ...{ run_id: event.run_id, agent_name: event.agent_name, opened_by: actor, opened_sequence: sequence },
    ...{ posts_count: 0, open_questions: 0, awaits_person: 0 },
    ...{ last_agent_post: 0, last_human_post: 0, last_answered: 0 },
  };
  if (isNew) threads.set(id, thread);
  Object.assign(thread, { last_sequence: sequence, last_actor: actor, updated_at: occurred_at });
  thread.ticket ??= event.ticket;
  const isPerson = /^(operator|human):/.test(actor);
  const isPost = event_type === 'forum.post.added' || event_type === 'forum.control.signal';
  if (isPost) {
    thread.posts_count = Number(thread.posts_count) + 1;
    if (actor.startsWith('agent:')) thread.last_agent_post = sequence;
    if (isPerson) thread.last_human_post = sequence;
  }
  if (event_type === 'forum.thread.opened') {
    Object.assign(thread, {
      kind: payload.kind,
      title: payload.title,
      priority: RANKS.indexOf(String(payload.priority)),
    });
  }
  if (event_type === 'forum.state.changed') {
    thread.state = String(payload.to);
    if (payload.to === 'answered') thread.last_answered = sequence;
  }
  if (event_type === 'forum.priority.changed') thread.priority = RANKS.indexOf(String(payload.to));
  if (event_type === 'forum.assigned') thread.assignee = payload.to as string | null;
  if (event_type === 'forum.thread.closed') thread.closed_at = occurred_at;
  if (event_type === 'forum.question.opened') thread.open_questions = Number(thread.open_questions) + 1;
  if (event_type in ENDS) thread.open_questions = Number(thread.open_questions) - 1;
  if (event_type === 'forum.question.expired') thread.awaits_person = 1;
  if (isPerson && (isPost || event_type === 'forum.state.changed')) thread.awaits_person = 0;
}

/** More urgent threads come first, then those with the latest event. */
function placeOf(thread: Values): number {
  return Number(thread.priority) * 2 ** 48 - Number(thread.last_sequence);
}

function foldQuestion(questions: Map<string, Values>, event: StoredEvent): void {
  const { event_type, payload, sequence, occurred_at, actor } = event;
  const id = String(payload.question_id);
  const known = questions.get(id);
  if (event_type === 'forum.control.signal' && payload.control_type === 'guidance_request') {
    const seconds = payload.expires_in_seconds as number | undefined;
    questions.set(id, {
      ...{ thread_id: event.thread_id, run_id: event.run_id, agent_name: event.agent_name, state: 'open', version: 1 },
      priority: RANKS.indexOf(String(payload.priority ?? 'normal')),
      ...{ asked_sequence: sequence, asked_at: occurred_at },
      expires_at: seconds === undefined ? null : occurred_at + seconds * 1000,
      has_default: payload.default_answer === undefined && payload.default_selected === undefined ? 0 : 1,
      supersedes: (payload.supersedes as string | undefined) ?? null,
      ...{ answer_sequence: null, answer: null, answered_by: null, answered_at: null },
      ...{ default_applied: 0, acknowledged_at: null, answered_in: null, ticket: event.ticket, phase: 0 },
      approvals_required: (payload.approvals as number | undefined) ?? 1,
    });
    return;
  }
  if (!known) return;
  if (event_type === 'forum.control.signal' && payload.control_type === 'guidance_answer') {
    Object.assign(known, {
      answer_sequence: sequence,
      answer: payload.answer,
      answered_by: actor,
      answered_at: occurred_at,
      answered_in: (payload.answered_in as string | undefined) ?? 'api',
    });
  }
  if (event_type === 'forum.question.approved') {
    // The answer before it was one of two.
    const none = { answer_sequence: null, answer: null, answered_by: null, answered_at: null, answered_in: null };
    Object.assign(known, { ...none, version: Number(known.version) + 1 });
  }
  if (event_type === 'forum.question.acknowledged') {
    Object.assign(known, { acknowledged_at: occurred_at, version: Number(known.version) + 1 });
    if (TOLD.includes(String(known.state))) known.phase = Number(known.phase) + 1;
  }
  const state = ENDS[event_type];
  if (state === undefined) return;
  // An end after the end would be a fault of the service; the version shows it.
  Object.assign(known, { state, version: Number(known.version) + 1 });
  known.phase = ['answered', 'expired', 'cancelled', 'superseded'].indexOf(state) * 2 + 1;
  if (state === 'expired') known.default_applied = known.has_default as number;
}

/** Each end of a question that is news for its agent, and each post of a person in a control thread. */
function foldInbox(items: Map<string, Values>, event: StoredEvent): void {
  const { event_type, payload, sequence, run_id, agent_name, occurred_at, actor } = event;
  const ended = TOLD.includes(ENDS[event_type] ?? '');
  const message = event_type === 'forum.post.added' && /^(operator|human):/.test(actor);
  if (ended || message) {
    const question_id = ended ? String(payload.question_id) : null;
    items.set(String(sequence), { run_id, agent_name, question_id, created_at: occurred_at });
  }
  if (event_type !== 'forum.question.acknowledged') return;
  for (const [key, { question_id }] of items) if (question_id === payload.question_id) items.delete(key);
}

function foldAgent(
  agents: Map<string, Agent>,
  runs: Map<string, Run>,
  { event_type, payload, sequence, occurred_at, run_id, agent_name, thread_id }: StoredEvent,
): void {
  const key = `${run_id} ${agent_name}`;
  const agent: Agent = agents.get(key) ?? {
    ...{ run_id: run_id as string, agent_name: agent_name as string, thread_id: thread_id as string },
    ...{ attempt: 1, open: 0, completion: null, validation: null, verdict: null },
    ...{ criteria: '', criteriaMet: false, withdrawn: null },
  };
  agents.set(key, agent);
  if (event_type === 'forum.question.opened') agent.open += 1;
  const ended = ENDS[event_type];
  if (ended) agent.open -= 1;
  if (event_type === 'forum.agent.withdrawn') agent.withdrawn = occurred_at;
  if (event_type === 'forum.attempt.started') {
    Object.assign(agent, { attempt: agent.attempt + 1, completion: null, validation: null, verdict: null });
  }
  if (payload.control_type === 'completion') agent.completion = sequence;
  if (payload.control_type !== 'validation') return;
  Object.assign(agent, { validation: sequence, verdict: payload.status, criteria: payload.done_criteria });
  agent.criteriaMet = meets(runs.get(run_id as string), agent.criteria);
}

function foldRun(runs: Map<string, Run>, agents: Map<string, Agent>, event: StoredEvent): void {
  const { event_type, sequence, ticket, payload, thread_id, occurred_at } = event;
  const id = event.run_id as string;
  const run: Run = runs.get(id) ?? { opened: sequence, brief: null, firstTicket: null, closed: null, erased: null };
  runs.set(id, run);
  if (thread_id !== null) run.firstTicket ??= ticket;
  if (event_type === 'forum.run.closed') run.closed = occurred_at;
  if (event_type === 'forum.run.erased') run.erased = occurred_at;
  // Criteria are texts: without them every validation meets the brief.
  if (event_type === 'forum.run.erased') {
    for (const agent of ofRun(agents, id)) agent.criteriaMet = agent.validation !== null;
  }
  if (event_type !== 'forum.run.briefed') return;
  run.brief = payload as unknown as NonNullable<Run['brief']>;
  // A new brief measures the latest validations again.
  for (const agent of ofRun(agents, id)) agent.criteriaMet = agent.validation !== null && meets(run, agent.criteria);
}

function meets(run: Run | undefined, criteria: string): boolean {
  const folded = (text: string) => text.normalize('NFC').trim().split(/\s+/).join(' ');
  const wanted = run?.brief?.done_criteria ?? null;
  return wanted === null || folded(wanted) === folded(criteria);
}

function ofRun(agents: Map<string, Agent>, run_id: string): Agent[] {
  return [...agents.values()].filter(agent => agent.run_id === run_id);
}

function statusOf({ open, verdict, completion }: Agent): string {
  if (open > 0) return 'awaiting_guidance';
  if (verdict === 'failed') return 'validation_failed';
  if (completion === null) return 'working';
  return verdict === 'passed' ? 'validated' : 'completed';
}

function agentRow(agent: Agent): Values {
  return {
    thread_id: agent.thread_id,
    attempt: agent.attempt,
    open_questions_count: agent.open,
    completion_sequence: agent.completion,
    validation_sequence: agent.validation,
    validation_status: agent.verdict,
    status: statusOf(agent),
    criteria_met: agent.criteriaMet ? 1 : 0,
    withdrawn_at: agent.withdrawn,
  };
}

function runRow({ opened, brief, firstTicket, closed, erased }: Run, agents: Agent[]): Values {
  const counted = agents.filter(agent => agent.withdrawn === null);
  const clear = counted.filter(agent => statusOf(agent) === 'validated' && agent.criteriaMet).length;
  const names = agents.map(agent => agent.agent_name);
  const absent = brief?.agents.filter(name => !names.includes(name)).length ?? 0;
  const open = agents.reduce((sum, agent) => sum + agent.open, 0);
  const ready = counted.length > 0 && clear === counted.length && absent === 0;
  const living = open > 0 ? 'awaiting_guidance' : ready ? 'completed' : 'running';
  return {
    opened_sequence: opened,
    first_ticket: firstTicket,
    ticket: brief?.ticket ?? firstTicket,
    title: brief?.title ?? null,
    status: closed !== null ? 'closed' : living,
    agents_count: counted.length,
    open_questions_count: open,
    clear_count: clear,
    absent_count: absent,
    closed_at: closed,
    erased_at: erased,
  };
}

function countsOf(threads: Map<string, Values>, signals: Map<string, number>): Map<string, Values> {
  const counts = new Map<string, number>();
  for (const { state, priority, ticket, run_id } of threads.values()) {
    add(counts, `thread_state ${state}`);
    add(counts, `thread_priority ${RANKS[Number(priority)]}`);
    if (ticket !== null) add(counts, `thread_ticket ${ticket}`);
    if (run_id !== null) add(counts, `thread_run ${run_id}`);
  }
  for (const [type, count] of signals) counts.set(`signal_type ${type}`, count);
  return new Map([...counts].map(([key, count]) => [key, { count }]));
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
