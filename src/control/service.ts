import type { Actor } from '../actor.ts';
import { type Clock, toTimestampOrNull } from '../clock.ts';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import { isErased } from '../events/erased.ts';
import type { Event } from '../events/schemas.ts';
import type { EventDraft, EventLog } from '../events/service.ts';
import { priorityRank } from '../priority.ts';
import { runErased, type ThreadService } from '../threads/service.ts';
import { awaitsPerson, blankThread, isClosed, type ThreadRow } from '../threads/thread.ts';
import {
  addUnread,
  countSilent,
  countWaiting,
  eraseAgents,
  findControlThread,
  insertControlThread,
  listAgents,
  listAgentsByName,
  listBlockingAgents,
  listControlThreads,
  listOpenQuestions,
  listSeen,
  setSeen,
  storeControlThreads,
  updateControlThread,
} from './agent-repository.ts';
import { blankControl, type ControlRow, changed, changeOf, type OpenQuestion, openAfter } from './agent-state.ts';
import { findRun, insertRun, listClosedBefore, updateRun } from './run-repository.ts';
import { blankRun, briefOf, type RunRow, withAgentChanged } from './run-state.ts';
import type { Completion, ControlState, ControlStatus, ControlThreadQuery, Validation } from './schemas.ts';

/** An agent with its control state, control thread and run. Version 0 marks rows that are not stored yet. */
export interface Agent {
  control: ControlRow;
  thread: ThreadRow;
  run: RunRow;
}

/** The names of an agent. */
export type AgentName = Pick<ControlRow, 'run_id' | 'agent_name'>;

/** An agent that works and was not heard of for so long counts as stalled, and after a day as left behind. Milliseconds. */
const SILENT_MS = 30 * 60_000;
const FORGOTTEN_MS = 24 * 3_600_000;

/** The most heads that a snapshot embeds; a paged list has all. */
export const EMBEDDED = 100;

export type Control = ReturnType<typeof createControl>;

interface Dependencies {
  db: Database;
  clock: Clock;
  events: EventLog;
  threads: ThreadService;
  /** What stands before each path of the service. */
  basePath: string;
}

/** Control states and control threads of agents. Signals, questions and attempts all end in `record`. */
export function createControl({ db, clock, events, threads, basePath }: Dependencies) {
  const toState = (row: ControlRow, stated: Map<number, Event>, open: string[]): ControlState => {
    const query = new URLSearchParams({ state: 'open', run_id: row.run_id, agent_name: row.agent_name });
    return toControlState(row, stated, open, `${basePath}/questions?${query}`);
  };

  /** The stored agent, and its run. */
  async function look(reader: Reader, runId: string, agentName: string) {
    const [control, thread, joined] = await Promise.all([
      findControlThread(reader, runId, agentName),
      threads.ofAgent(reader, runId, agentName),
      run(reader, runId),
    ]);
    return { known: control && thread && { control, thread, run: joined }, joined };
  }

  async function find(reader: Reader, runId: string, agentName: string): Promise<Agent | undefined> {
    return (await look(reader, runId, agentName)).known;
  }

  /** The stored run, or a blank one. */
  async function run(reader: Reader, runId: string): Promise<RunRow> {
    return (await findRun(reader, runId)) ?? blankRun(runId);
  }

  function storeRun(tx: Tx, row: RunRow): void {
    if (row.version === 1) insertRun(tx, row);
    else updateRun(tx, row);
  }

  async function required(reader: Reader, runId: string, agentName: string): Promise<Agent> {
    const agent = await find(reader, runId, agentName);
    if (!agent) throw noSignal(runId, agentName);
    return agent;
  }

  /** The stored agent, or a blank one for its first signal. @throws Refusal RUN_CLOSED, RUN_ERASED */
  async function load(tx: Tx, runId: string, agentName: string, actor: Actor, ticket: string | null): Promise<Agent> {
    const { known, joined } = await look(tx, runId, agentName);
    assertKept(joined);
    if (known) return known;
    if (joined.closed_at !== null) throw runClosed(runId);
    const control = blankControl(runId, agentName);
    const seed = { thread_id: control.thread_id, kind: 'control' as const, title: `Control: ${agentName} in ${runId}` };
    const names = { run_id: runId, agent_name: agentName, ticket, priority: priorityRank('normal') };
    return { control, thread: blankThread({ ...seed, ...names, actor, now: clock.now() }), run: joined };
  }

  /**
   * Appends the events of one act of an agent, and stores its thread, control state and run after them. A new thread is
   * opened first. The thread is `waiting_operator` while a question is open, and `answered` when the last one closes,
   * unless a question expired that no person has attended to.
   * @param drafts the act's own event first, then its consequences
   * @param received how many outcomes of questions the agent acknowledges
   * @returns the agent after the act, and the sequence of the act's own event
   * @throws Refusal RUN_ERASED
   */
  async function record(
    tx: Tx,
    agent: Agent,
    drafts: [EventDraft, ...EventDraft[]],
    received = 0,
  ): Promise<{ agent: Agent; sequence: number }> {
    assertKept(agent.run);
    const [cause] = drafts;
    const change = { ...changeOf(drafts, briefOf(agent.run)), received };
    const before = agent.control.open_questions_count;
    const after = openAfter(agent.control, change);
    const state = after > 0 ? 'waiting_operator' : 'answered';
    const stays = after === before || isClosed(agent.thread) || (after === 0 && awaitsPerson(agent.thread, drafts));
    const opened = agent.thread.version === 0 ? [threadOpened(agent.thread, cause)] : [];
    const moved = stays ? [] : threads.move(agent.thread, state, cause, after);
    const { thread, sequences } = await threads.record(tx, agent.thread, [...opened, ...drafts, ...moved]);
    const sequence = sequences[opened.length] as number;
    const control = changed(agent.control, change, sequence);
    if (isAgent(cause.actor, control)) control.last_seen_at = cause.occurred_at;
    if (agent.control.version === 0) insertControlThread(tx, control);
    else updateControlThread(tx, control);
    const act = { sequence: sequences[0] as number, occurred_at: cause.occurred_at, ticket: thread.ticket };
    const run = withAgentChanged(agent.run, agent.control, control, act);
    storeRun(tx, run);
    return { agent: { control, thread, run }, sequence };
  }

  function threadOpened(thread: ThreadRow, cause: EventDraft): EventDraft {
    const { kind, title } = thread;
    return events.follow(cause, 'forum.thread.opened', { kind, title, priority: 'normal' });
  }

  /** The wire form of these control states, with one look-up for all heads of completions and validations. */
  async function views(reader: Reader, rows: ControlRow[]): Promise<ControlState[]> {
    const sequences = rows.flatMap(row => [row.completion_sequence, row.validation_sequence]).filter(at => at !== null);
    const [stated, open] = await Promise.all([
      events.heads(reader, sequences),
      Promise.all(rows.map(row => openQuestions(reader, row))),
    ]);
    return rows.map((row, index) => toState(row, stated, open[index] ?? []));
  }

  /** The state of an agent that the brief names and that has sent no signal. Its control thread does not exist yet. */
  function absent(run_id: string, agent_name: string): ControlState {
    return { ...toState(blankControl(run_id, agent_name), new Map(), []), status: 'absent' };
  }

  /** The agent's open questions, oldest first. */
  async function open(reader: Reader, row: ControlRow, limit = EMBEDDED): Promise<OpenQuestion[]> {
    return row.open_questions_count === 0 ? [] : listOpenQuestions(reader, row, limit);
  }

  /** As {@link open}, their ids. */
  async function openQuestions(reader: Reader, row: ControlRow, limit?: number): Promise<string[]> {
    return (await open(reader, row, limit)).map(({ question_id }) => question_id);
  }

  async function view(reader: Reader, row: ControlRow): Promise<ControlState> {
    const [state] = await views(reader, [row]);
    return state as ControlState;
  }

  return {
    open,
    openQuestions,
    find,
    load,
    required,
    record,
    run,
    storeRun,
    views,

    /** All agents of a run, by name. */
    agents: (reader: Reader, runId: string): Promise<ControlRow[]> => listAgents(reader, runId),

    /** The first agents of a run, by name. */
    async someAgents(reader: Reader, runId: string): Promise<ControlState[]> {
      return views(reader, await listControlThreads(reader, { run_id: runId }, EMBEDDED));
    },

    absent,

    /** How many agents have open questions, and how many work without having been heard of for long. */
    async inNumbers(): Promise<{ waiting: number; stalled: number }> {
      const now = clock.now();
      const [waiting, stalled] = await Promise.all([
        countWaiting(db.read),
        countSilent(db.read, { from: now - FORGOTTEN_MS, until: now - SILENT_MS }),
      ]);
      return { waiting, stalled };
    },

    /** The first agents that keep the gate of a run closed, by name. */
    blocking: (reader: Reader, runId: string): Promise<ControlRow[]> => listBlockingAgents(reader, runId, EMBEDDED),

    /** Those of these agents that have sent no signal in the run. */
    async unseen(reader: Reader, runId: string, agentNames: string[]): Promise<string[]> {
      const seen = new Set(await listSeen(reader, runId, agentNames));
      return agentNames.filter(name => !seen.has(name));
    },

    /** Counts items that were put into an agent's inbox, or taken out, without an act of {@link record}. */
    addUnread: (tx: Tx, agent: AgentName, by: number): void => addUnread(tx, agent, by),

    /** Stores that an agent has done something, without an act of {@link record}. @param renewMs as for `setSeen` */
    seen: (tx: Tx, agent: AgentName, at: number, renewMs = 0): void => setSeen(tx, agent, at, renewMs),

    /** Closed runs whose texts are not erased and that were closed before a time (epoch milliseconds), the oldest first. */
    closedBefore: (reader: Reader, before: number, limit: number): Promise<RunRow[]> =>
      listClosedBefore(reader, before, limit),

    /** Empties the inboxes of some agents of a run that is erased. @returns how many agents changed */
    eraseAgents: (tx: Tx, runId: string, limit: number): Promise<number> => eraseAgents(tx, runId, limit),

    /** Those of these agents of a run that have a control state. */
    named: (tx: Tx, runId: string, names: string[]): Promise<ControlRow[]> => listAgentsByName(tx, runId, names),

    /** Stores agents as the events of an import leave them. */
    restore: (tx: Tx, rows: readonly ControlRow[]): Promise<void> => storeControlThreads(tx, rows),

    /** Stores the run of an import. */
    restoreRun: (tx: Tx, row: RunRow): void => insertRun(tx, row),

    /** Stores an agent after its validation was measured by another brief. */
    remeasure: (tx: Tx, row: ControlRow): void => updateControlThread(tx, row),

    view: (reader: Reader, agent: Agent): Promise<ControlState> => view(reader, agent.control),

    /** @throws Refusal CONTROL_THREAD_NOT_FOUND */
    async get(runId: string, agentName: string): Promise<ControlState> {
      const row = await findControlThread(db.read, runId, agentName);
      const [state] = await views(db.read, row ? [row] : []);
      if (!state) throw noSignal(runId, agentName);
      return state;
    },

    /** By run, then agent. @throws Refusal INVALID_CURSOR */
    async list({ limit = 50, cursor, ...filter }: ControlThreadQuery): Promise<Page<ControlState>> {
      return readPage({
        list: 'control-threads',
        cursor,
        shape: ['', ''],
        limit,
        read: (from, count) => listControlThreads(db.read, { ...filter, from }, count),
        keyOf: row => [row.run_id, row.agent_name],
        views: rows => views(db.read, rows),
      });
    },

    /** Starts the next attempt. It resets completion and validation; open questions stay. @throws Refusal CONTROL_THREAD_NOT_FOUND, RUN_CLOSED, THREAD_CLOSED */
    async nextAttempt(tx: Tx, runId: string, agentName: string, actor: Actor): Promise<ControlState> {
      const known = await required(tx, runId, agentName);
      assertOpen(known);
      const payload = { attempt: known.control.attempt + 1 };
      const started = events.draft(ticketed(known), actor, 'forum.attempt.started', payload);
      const { agent } = await record(tx, known, [started]);
      return toState(agent.control, new Map(), await openQuestions(tx, agent.control));
    },

    /**
     * Withdraws an agent from its run: closes its control thread, which cancels its open questions. The gate no longer
     * counts it. Repeating changes nothing.
     * @throws Refusal CONTROL_THREAD_NOT_FOUND, RUN_CLOSED
     */
    async withdraw(tx: Tx, runId: string, agentName: string, actor: Actor): Promise<ControlState> {
      const { control, thread, run: joined } = await required(tx, runId, agentName);
      if (control.withdrawn_at !== null) return view(tx, control);
      if (joined.closed_at !== null) throw runClosed(runId);
      if (!isClosed(thread)) await threads.change(tx, thread.thread_id, { actor, state: 'closed' });
      const known = await required(tx, runId, agentName);
      const withdrawn = events.draft(ticketed(known), actor, 'forum.agent.withdrawn', {});
      const { agent } = await record(tx, known, [withdrawn]);
      return view(tx, agent.control);
    },
  };
}

/**
 * The control thread as events of its agent name it: with the ticket of the run's brief, if that has one. A thread without a
 * ticket takes the first one that its events have.
 */
export function ticketed({ thread, run }: Agent): ThreadRow {
  return { ...thread, ticket: briefOf(run)?.ticket ?? thread.ticket };
}

/** Whether an actor is this agent. */
export function isAgent({ type, name }: Actor, { agent_name }: Pick<AgentName, 'agent_name'>): boolean {
  return type === 'agent' && name === agent_name;
}

export function runClosed(runId: string): Refusal {
  return new Refusal('RUN_CLOSED', `The run ${runId} is closed.`);
}

function noSignal(runId: string, agentName: string): Refusal {
  return new Refusal('CONTROL_THREAD_NOT_FOUND', `The agent ${agentName} has sent no signal in the run ${runId}.`);
}

/** @throws Refusal RUN_ERASED */
export function assertKept({ run_id, erased_at }: Pick<RunRow, 'run_id' | 'erased_at'>): void {
  if (erased_at !== null) throw runErased(run_id);
}

/** The close of a run closes the threads of its agents too. @throws Refusal RUN_CLOSED, THREAD_CLOSED */
export function assertOpen({ thread, run }: Agent): void {
  if (run.closed_at !== null) throw runClosed(run.run_id);
  if (isClosed(thread)) throw new Refusal('THREAD_CLOSED', `The control thread ${thread.thread_id} is closed.`);
}

function toControlState(
  row: ControlRow,
  stated: Map<number, Event>,
  open_questions: string[],
  open_questions_url: string,
): ControlState {
  const completion = stated.get(row.completion_sequence ?? 0);
  const validation = stated.get(row.validation_sequence ?? 0);
  return {
    run_id: row.run_id,
    agent_name: row.agent_name,
    thread_id: row.thread_id,
    attempt: row.attempt,
    status: row.withdrawn_at === null ? (row.status as ControlStatus) : 'withdrawn',
    open_questions,
    open_questions_count: row.open_questions_count,
    open_questions_url,
    completion: completion ? toCompletion(completion) : null,
    validation: validation ? toValidation(validation) : null,
    last_seen_at: toTimestampOrNull(row.last_seen_at),
    version: row.version,
    ...([completion, validation].some(event => event && isErased(event)) && { erased: true }),
  };
}

type Signed = Pick<Completion, 'signal_id'>;
type Validated = Pick<Validation, 'signal_id' | 'status' | 'done_criteria'>;

function toCompletion({ payload, sequence, occurred_at, actor }: Event): Completion {
  const { summary = null, evidence = [], evidence_count = 0, ...rest } = payload as Partial<Completion> & Signed;
  const { signal_id, summary_truncated } = rest;
  const cut = summary_truncated && { summary_truncated };
  return { signal_id, sequence, occurred_at, actor, summary, ...cut, evidence, evidence_count };
}

function toValidation({ payload, sequence, occurred_at, actor }: Event): Validation {
  const { evidence = [], evidence_count = 0, ...rest } = payload as Partial<Validation> & Validated;
  const { signal_id, status, done_criteria, done_criteria_truncated } = rest;
  const cut = done_criteria_truncated && { done_criteria_truncated };
  return { signal_id, sequence, occurred_at, actor, status, done_criteria, ...cut, evidence, evidence_count };
}
