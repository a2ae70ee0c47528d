import type { Row } from '../db/schema.ts';
import { type ControlRow, isClear, isCounted } from './agent-state.ts';
import type { RunBrief } from './brief.ts';

/** A run as stored. */
export type RunRow = Row<'runs'>;

/** A run without brief and signals. Version 0 means not stored yet. */
export function blankRun(run_id: string): RunRow {
  return {
    run_id,
    opened_sequence: 0,
    brief: null,
    first_ticket: null,
    ticket: null,
    title: null,
    status: 'running',
    agents_count: 0,
    open_questions_count: 0,
    clear_count: 0,
    absent_count: 0,
    updated_at: 0,
    closed_at: null,
    erased_at: null,
    version: 0,
  };
}

export function briefOf(run: RunRow): RunBrief | null {
  return run.brief === null ? null : (JSON.parse(run.brief) as RunBrief);
}

/** Whether the gate lets the run close. */
export function isReady(run: RunRow): boolean {
  return run.agents_count > 0 && run.clear_count === run.agents_count && run.absent_count === 0;
}

/** The run after an act that changed one of its agents. `before` has version 0 at the agent's first act. */
export function withAgentChanged(
  run: RunRow,
  before: ControlRow,
  after: ControlRow,
  act: { sequence: number; occurred_at: number; ticket: string | null },
): RunRow {
  const isNew = before.version === 0;
  const next = { ...run };
  next.agents_count += Number(isCounted(after)) - Number(isCounted(before));
  next.absent_count -= isNew && briefOf(run)?.agents.includes(after.agent_name) ? 1 : 0;
  next.open_questions_count += after.open_questions_count - before.open_questions_count;
  next.clear_count += Number(isClear(after)) - Number(isClear(before));
  next.first_ticket ??= act.ticket;
  return withDerived(next, act);
}

/** The run with another brief. `agents` are already measured by its criteria. */
export function withBrief(
  run: RunRow,
  brief: RunBrief,
  agents: ControlRow[],
  act: { sequence: number; occurred_at: number },
): RunRow {
  const seen = new Set(agents.map(agent => agent.agent_name));
  const absent = brief.agents.filter(name => !seen.has(name));
  const clear_count = agents.filter(isClear).length;
  return withDerived({ ...run, brief: JSON.stringify(brief), clear_count, absent_count: absent.length }, act);
}

export function closedRun(run: RunRow, act: { sequence: number; occurred_at: number }): RunRow {
  return withDerived({ ...run, closed_at: act.occurred_at }, act);
}

/** The run after its texts were erased: the names in its brief stay. */
export function erasedRun(run: RunRow, act: { sequence: number; occurred_at: number }): RunRow {
  const brief = briefOf(run);
  const erased = brief && JSON.stringify({ ...brief, title: null, done_criteria: null });
  return withDerived({ ...run, brief: erased, erased_at: act.occurred_at }, act);
}

/** The run with its derived columns. */
function withDerived(run: RunRow, { sequence, occurred_at }: { sequence: number; occurred_at: number }): RunRow {
  const brief = briefOf(run);
  return {
    ...run,
    opened_sequence: run.opened_sequence || sequence,
    ticket: brief?.ticket ?? run.first_ticket,
    title: brief?.title ?? null,
    status: runStatus(run),
    updated_at: occurred_at,
    version: run.version + 1,
  };
}

function runStatus(run: RunRow): RunRow['status'] {
  if (run.closed_at !== null) return 'closed';
  if (run.open_questions_count > 0) return 'awaiting_guidance';
  return isReady(run) ? 'completed' : 'running';
}
