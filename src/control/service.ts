import type { Actor } from '../actor.ts';
import type { Clock } from '../clock.ts';
import { decodeCursor, type Page, toPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { Event } from '../events/schemas.ts';
import type { EventDraft, Events } from '../events/service.ts';
import { priorityRank } from '../priority.ts';
import type { Threads } from '../threads/service.ts';
import { blankThread, isClosed, type ThreadRow } from '../threads/thread.ts';
import {
  findControlThread,
  insertControlThread,
  listAgents,
  listControlThreads,
  updateControlThread,
} from './agent-repository.ts';
import { blankControl, type ControlChange, type ControlRow, changed, openQuestions } from './agent-state.ts';
import { findRun, insertRun, updateRun } from './run-repository.ts';
import { blankRun, type RunRow, withAgentChanged } from './run-state.ts';
import type { Completion, ControlState, ControlStatus, ControlThreadQuery, Validation } from './schemas.ts';

/** An agent with its control state, control thread and run. Version 0 marks rows that are not stored yet. */
export interface Agent {
  control: ControlRow;
  thread: ThreadRow;
  run: RunRow;
}

export type Control = ReturnType<typeof createControl>;

interface Dependencies {
  db: Database;
  clock: Clock;
  events: Events;
  threads: Threads;
}

/** Control states and control threads of agents. Signals, questions and attempts all end in `record`. */
export function createControl({ db, clock, events, threads }: Dependencies) {
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
    if (!agent)
      throw new Refusal('CONTROL_THREAD_NOT_FOUND', `The agent ${agentName} has sent no signal in the run ${runId}.`);
    return agent;
  }

  /** The stored agent, or a blank one for its first signal. @throws Refusal RUN_CLOSED */
  async function load(tx: Tx, runId: string, agentName: string, actor: Actor, ticket: string | null): Promise<Agent> {
    const { known, joined } = await look(tx, runId, agentName);
    if (known) return known;
    if (joined.closed_at !== null) throw runClosed(runId);
    const control = blankControl(runId, agentName);
    const seed = { thread_id: control.thread_id, kind: 'control' as const, title: `Control: ${agentName} in ${runId}` };
    const names = { run_id: runId, agent_name: agentName, ticket, priority: priorityRank('normal') };
    return { control, thread: blankThread({ ...seed, ...names, actor, now: clock.now() }), run: joined };
  }

  /**
   * Appends the events of one act of an agent, and stores its thread, control state and run after them. A new thread is
   * opened first. The thread is `waiting_operator` while a question is open, and `answered` when the last one closes.
   * @param drafts the act's own event first, then its consequences
   * @returns the agent after the act, and the sequence of the act's own event
   */
  async function record(
    tx: Tx,
    agent: Agent,
    drafts: [EventDraft, ...EventDraft[]],
    change: ControlChange,
  ): Promise<{ agent: Agent; sequence: number }> {
    const [cause] = drafts;
    const before = openQuestions(agent.control).length;
    const after = openQuestions(agent.control, change).length;
    const state = after > 0 ? 'waiting_operator' : 'answered';
    const opened = agent.thread.version === 0 ? [threadOpened(agent.thread, cause)] : [];
    const moved = after === before ? [] : threads.move(agent.thread, state, cause, after);
    const { thread, sequences } = await threads.record(tx, agent.thread, [...opened, ...drafts, ...moved]);
    const sequence = sequences[opened.length] as number;
    const control = changed(agent.control, change, sequence);
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

  /** The wire form of these control states, with one look-up for all their completions and validations. */
  async function views(reader: Reader, rows: ControlRow[]): Promise<ControlState[]> {
    const sequences = rows.flatMap(row => [row.completion_sequence, row.validation_sequence]).filter(at => at !== null);
    const stated = await events.at(reader, sequences);
    return rows.map(row => toControlState(row, stated));
  }

  async function view(reader: Reader, row: ControlRow): Promise<ControlState> {
    const [state] = await views(reader, [row]);
    return state as ControlState;
  }

  return {
    find,
    load,
    required,
    record,
    run,
    storeRun,
    views,

    /** All agents of a run, by name. */
    agents: (reader: Reader, runId: string): Promise<ControlRow[]> => listAgents(reader, runId),

    /** Stores an agent after its validation was measured by another brief. */
    remeasure: (tx: Tx, row: ControlRow): void => updateControlThread(tx, row),

    view: (reader: Reader, agent: Agent): Promise<ControlState> => view(reader, agent.control),

    /** @throws Refusal CONTROL_THREAD_NOT_FOUND */
    async get(runId: string, agentName: string): Promise<ControlState> {
      const row = await findControlThread(db.read, runId, agentName);
      const [state] = await views(db.read, row ? [row] : []);
      if (!state)
        throw new Refusal('CONTROL_THREAD_NOT_FOUND', `The agent ${agentName} has sent no signal in the run ${runId}.`);
      return state;
    },

    /** By run, then agent. @throws Refusal INVALID_CURSOR */
    async list({ limit = 50, cursor, ...filter }: ControlThreadQuery): Promise<Page<ControlState>> {
      const from = decodeCursor('control-threads', cursor, ['', ''] as const);
      const rows = await listControlThreads(db.read, { ...filter, from }, limit + 1);
      const page = toPage('control-threads', rows, limit, row => [row.run_id, row.agent_name]);
      return { items: await views(db.read, page.items), next_cursor: page.next_cursor };
    },

    /** Starts the next attempt. It resets completion and validation; open questions stay. @throws Refusal CONTROL_THREAD_NOT_FOUND, THREAD_CLOSED */
    async nextAttempt(tx: Tx, runId: string, agentName: string, actor: Actor): Promise<ControlState> {
      const known = await required(tx, runId, agentName);
      assertOpen(known);
      const payload = { attempt: known.control.attempt + 1 };
      const started = events.draft(known.thread, actor, 'forum.attempt.started', payload);
      const { agent } = await record(tx, known, [started], { nextAttempt: true });
      return toControlState(agent.control, new Map());
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
      const withdrawn = events.draft(known.thread, actor, 'forum.agent.withdrawn', {});
      const { agent } = await record(tx, known, [withdrawn], { withdrawnAt: withdrawn.occurred_at });
      return view(tx, agent.control);
    },
  };
}

export function runClosed(runId: string): Refusal {
  return new Refusal('RUN_CLOSED', `The run ${runId} is closed.`);
}

/** @throws Refusal THREAD_CLOSED */
export function assertOpen({ thread }: Agent): void {
  if (isClosed(thread)) throw new Refusal('THREAD_CLOSED', `The control thread ${thread.thread_id} is closed.`);
}

function toControlState(row: ControlRow, stated: Map<number, Event>): ControlState {
  const completion = stated.get(row.completion_sequence ?? 0);
  const validation = stated.get(row.validation_sequence ?? 0);
  return {
    run_id: row.run_id,
    agent_name: row.agent_name,
    thread_id: row.thread_id,
    attempt: row.attempt,
    status: row.withdrawn_at === null ? (row.status as ControlStatus) : 'withdrawn',
    open_questions: openQuestions(row),
    completion: completion ? toCompletion(completion) : null,
    validation: validation ? toValidation(validation) : null,
    version: row.version,
  };
}

function toCompletion({ payload, sequence, occurred_at, actor }: Event): Completion {
  const { signal_id, summary = null, evidence = [] } = payload as Partial<Completion> & { signal_id: string };
  return { signal_id, sequence, occurred_at, actor, summary, evidence };
}

function toValidation({ payload, sequence, occurred_at, actor }: Event): Validation {
  const { signal_id, status, done_criteria, evidence = [] } = payload as Omit<Validation, 'sequence'>;
  return { signal_id, sequence, occurred_at, actor, status, done_criteria, evidence };
}
