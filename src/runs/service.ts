import { isDeepStrictEqual } from 'node:util';
import { beginningOf } from '../access/pattern.ts';
import type { Actor } from '../actor.ts';
import { toTimestamp, toTimestampOrNull } from '../clock.ts';
import type { ControlRow } from '../control/agent-state.ts';
import { criteriaOf, type RunBrief } from '../control/brief.ts';
import { briefOf, closedRun, isReady, type RunRow, withBrief } from '../control/run-state.ts';
import { assertKept, type Control, EMBEDDED, runClosed } from '../control/service.ts';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { EventDraft, EventLog } from '../events/service.ts';
import { assertPrecondition, type Precondition } from '../precondition.ts';
import type { QuestionService } from '../questions/service.ts';
import type { ThreadService } from '../threads/service.ts';
import { type Blocking, gateOf } from './gate.ts';
import { listRuns, listRunsByName } from './repository.ts';
import type { NewBrief, Run, RunQuery, RunSummary } from './schemas.ts';

export type RunService = ReturnType<typeof createRuns>;

interface Dependencies {
  db: Database;
  events: EventLog;
  threads: ThreadService;
  control: Control;
  questions: QuestionService;
  /** What stands before each path of the service. */
  basePath: string;
}

/** Runs as an orchestrator sees them: the brief, the state of each agent, and the gate. */
export function createRuns({ db, events, threads, control, questions, basePath }: Dependencies) {
  /** @throws Refusal RUN_NOT_FOUND */
  async function required(reader: Reader, runId: string): Promise<RunRow> {
    const run = await control.run(reader, runId);
    if (run.version === 0) throw new Refusal('RUN_NOT_FOUND', `There is no run ${runId}.`);
    return run;
  }

  async function view(reader: Reader, run: RunRow): Promise<Run> {
    const { run_id } = run;
    const query = new URLSearchParams({ run_id });
    const brief = briefOf(run);
    const absent = await absentOf(reader, run);
    const seen = await control.someAgents(reader, run_id);
    const agents = [...seen, ...absent.slice(0, EMBEDDED).map(name => control.absent(run_id, name))];
    return {
      run_id,
      status: run.status,
      ticket: run.ticket,
      brief,
      agents: within(agents.slice(0, EMBEDDED)),
      agents_count: run.agents_count,
      absent_count: run.absent_count,
      agents_url: `${basePath}/control-threads?${query}`,
      open_questions: within(run.open_questions_count === 0 ? [] : await questions.openHeads(reader, run_id)),
      open_questions_count: run.open_questions_count,
      open_questions_url: `${basePath}/questions?state=open&${query}`,
      gate: await gate(reader, run, absent),
      erased_at: toTimestampOrNull(run.erased_at),
      version: run.version,
    };
  }

  async function current(reader: Reader, runId: string): Promise<Run> {
    return view(reader, await required(reader, runId));
  }

  async function absentOf(reader: Reader, run: RunRow): Promise<string[]> {
    return run.absent_count === 0 ? [] : control.unseen(reader, run.run_id, briefOf(run)?.agents ?? []);
  }

  async function gate(reader: Reader, run: RunRow, absent: string[]): Promise<Run['gate']> {
    const rows = run.agents_count === run.clear_count ? [] : await control.blocking(reader, run.run_id);
    const blocking: Blocking[] = [];
    for (const row of rows) blocking.push({ control: row, open: await control.open(reader, row) });
    const ofTwo = blocking.flatMap(({ open }) => open.filter(({ approvals_required }) => approvals_required > 1));
    const ids = ofTwo.map(({ question_id }) => question_id);
    return gateOf(run, absent, blocking, ids.length === 0 ? new Map() : await questions.standings(reader, ids));
  }

  /** Drafts an event of the run itself, which belongs to no thread. */
  function draft(
    run: RunRow,
    actor: Actor,
    type: 'forum.run.briefed' | 'forum.run.closed',
    payload: object,
  ): EventDraft {
    const { run_id, ticket } = run;
    return events.draft({ thread_id: null, run_id, agent_name: null, ticket }, actor, type, { ...payload });
  }

  /**
   * Compares each agent's validation with the criteria of a brief, and stores changed results.
   * @returns all agents with the new results
   */
  async function applyCriteria(tx: Tx, runId: string, brief: RunBrief): Promise<ControlRow[]> {
    const agents = await control.agents(tx, runId);
    const sequences = agents.map(agent => agent.validation_sequence).filter(sequence => sequence !== null);
    const validations = await events.at(tx, sequences);
    const meets = criteriaOf(brief);
    const rows: ControlRow[] = [];
    for (const agent of agents) {
      const validation = validations.get(agent.validation_sequence ?? 0);
      const criteria_met = validation && meets(String(validation.payload.done_criteria)) ? 1 : 0;
      rows.push({ ...agent, criteria_met });
      if (criteria_met !== agent.criteria_met) control.remeasure(tx, { ...agent, criteria_met });
    }
    return rows;
  }

  /** The run with another brief, by which its agents are measured. */
  async function rebriefed(tx: Tx, run: RunRow, brief: RunBrief, act: { sequence: number; occurred_at: number }) {
    return withBrief(run, brief, await applyCriteria(tx, run.run_id, brief), act);
  }

  return {
    rebriefed,

    /**
     * Files a brief, which replaces the previous one. An equal brief changes nothing.
     * @throws Refusal RUN_CLOSED, RUN_ERASED, PRECONDITION_FAILED
     */
    async brief(
      tx: Tx,
      runId: string,
      body: NewBrief,
      actor: Actor,
      expected: Precondition,
    ): Promise<{ run: Run; created: boolean }> {
      const { ticket = null, title = null, done_criteria = null, agents = [] } = body;
      const brief: RunBrief = { ticket, title, done_criteria, agents: [...new Set(agents)] };
      const run = await control.run(tx, runId);
      assertPrecondition(expected, run.version);
      assertKept(run);
      if (isDeepStrictEqual(briefOf(run), brief)) return { run: await view(tx, run), created: false };
      if (run.closed_at !== null) throw runClosed(runId);
      const briefed = draft({ ...run, ticket }, actor, 'forum.run.briefed', brief);
      const [sequence = 0] = await events.append(tx, [briefed]);
      const act = { sequence, occurred_at: briefed.occurred_at };
      const next = await rebriefed(tx, run, brief, act);
      control.storeRun(tx, next);
      return { run: await view(tx, next), created: run.version === 0 };
    },

    /**
     * Closes the run and its control threads. A repeated close changes nothing.
     * @throws Refusal RUN_NOT_FOUND, PRECONDITION_FAILED; GATE_BLOCKED with the `reasons`
     */
    async close(tx: Tx, runId: string, actor: Actor, expected: Precondition): Promise<Run> {
      const run = await required(tx, runId);
      assertPrecondition(expected, run.version);
      if (run.closed_at !== null) return view(tx, run);
      if (!isReady(run)) {
        const { reasons, blocking_count } = await gate(tx, run, await absentOf(tx, run));
        throw new Refusal('GATE_BLOCKED', `The run ${runId} cannot be closed yet: ${reasons[0]?.detail}`, {
          reasons,
          blocking_count,
        });
      }
      const closed = draft(run, actor, 'forum.run.closed', {});
      const [sequence = 0] = await events.append(tx, [closed]);
      for (const { thread_id } of await control.agents(tx, runId)) {
        const thread = await threads.row(tx, thread_id);
        const moved = threads.move(thread, 'closed', { ...closed, thread });
        if (moved.length > 0) await threads.record(tx, thread, moved);
      }
      const next = closedRun(run, { sequence, occurred_at: closed.occurred_at });
      control.storeRun(tx, next);
      return view(tx, next);
    },

    /** The stored run. @throws Refusal RUN_NOT_FOUND */
    required,

    /** The run as it is now. @throws Refusal RUN_NOT_FOUND */
    current,

    /** @throws Refusal RUN_NOT_FOUND */
    get: (runId: string): Promise<Run> => db.snapshot(reader => current(reader, runId)),

    /**
     * A page of runs, newest first; with a pattern of names, those that it matches, by name.
     * @throws Refusal INVALID_CURSOR
     */
    async list({ limit = 50, cursor, ...filter }: RunQuery, pattern?: string): Promise<Page<RunSummary>> {
      const names = pattern === undefined ? undefined : beginningOf(pattern);
      if (names) {
        return readPage({
          list: 'runs by name',
          cursor,
          shape: [''],
          limit,
          read: (from, count) => listRunsByName(db.read, { ...filter, ...names, after: from?.[0] }, count),
          keyOf: row => [row.run_id],
          views: rows => rows.map(toSummary),
        });
      }
      return readPage({
        list: 'runs',
        cursor,
        shape: [0],
        limit,
        read: (from, count) => listRuns(db.read, { ...filter, before: from?.[0] ?? Number.MAX_SAFE_INTEGER }, count),
        keyOf: row => [row.opened_sequence],
        views: rows => rows.map(toSummary),
      });
    },
  };
}

/** The size of a list that a run embeds. Bytes of JSON. */
const LIST_BYTES = 262_144;

/** The first of these heads that fit into the size of a list. */
function within<T>(heads: T[]): T[] {
  let bytes = 0;
  const end = heads.findIndex(head => {
    bytes += Buffer.byteLength(JSON.stringify(head));
    return bytes > LIST_BYTES;
  });
  return end === -1 ? heads : heads.slice(0, end);
}

function toSummary(run: RunRow): RunSummary {
  const { run_id, status, ticket, title, agents_count, open_questions_count, version } = run;
  const updated_at = toTimestamp(run.updated_at);
  return {
    run_id,
    status,
    ticket,
    title,
    agents_count,
    open_questions_count,
    ready: isReady(run),
    updated_at,
    version,
  };
}
