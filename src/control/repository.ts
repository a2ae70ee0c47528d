import { after } from '../db/cursors.ts';
import type { Reader, Tx } from '../db/database.ts';
import type { RunRow } from './run.ts';
import type { ControlRow } from './state.ts';

export async function findControlThread(
  reader: Reader,
  runId: string,
  agentName: string,
): Promise<ControlRow | undefined> {
  return reader.query
    .selectFrom('control_threads')
    .selectAll()
    .where('run_id', '=', runId)
    .where('agent_name', '=', agentName)
    .executeTakeFirst();
}

export async function insertControlThread(tx: Tx, row: ControlRow): Promise<void> {
  await tx.query.insertInto('control_threads').values(row).execute();
}

/** Stores what can change of a control state. */
export async function updateControlThread(tx: Tx, row: ControlRow): Promise<void> {
  const { run_id, agent_name, thread_id: _, ...changes } = row;
  await tx.query
    .updateTable('control_threads')
    .set(changes)
    .where('run_id', '=', run_id)
    .where('agent_name', '=', agent_name)
    .execute();
}

/** By run, then agent. `from` is the pair at which the page before ended. */
export async function listControlThreads(
  reader: Reader,
  filter: { run_id?: string | undefined; status?: string | undefined; from?: readonly [string, string] | undefined },
  limit: number,
): Promise<ControlRow[]> {
  let query = reader.query.selectFrom('control_threads').selectAll();
  const { run_id, status, from } = filter;
  if (run_id !== undefined) query = query.where('run_id', '=', run_id);
  if (status !== undefined) query = query.where('status', '=', status);
  if (from) query = query.where(eb => after(eb, ['run_id', 'agent_name'], from));
  return query.orderBy('run_id').orderBy('agent_name').limit(limit).execute();
}

/** All agents of a run, by name. */
export async function listAgents(reader: Reader, runId: string): Promise<ControlRow[]> {
  const query = reader.query.selectFrom('control_threads').selectAll().where('run_id', '=', runId);
  return query.orderBy('agent_name').execute();
}

export async function findRun(reader: Reader, runId: string): Promise<RunRow | undefined> {
  return reader.query.selectFrom('runs').selectAll().where('run_id', '=', runId).executeTakeFirst();
}

export async function insertRun(tx: Tx, row: RunRow): Promise<void> {
  await tx.query.insertInto('runs').values(row).execute();
}

/** Stores what can change of a run. */
export async function updateRun(tx: Tx, { run_id, opened_sequence: _, ...changes }: RunRow): Promise<void> {
  await tx.query.updateTable('runs').set(changes).where('run_id', '=', run_id).execute();
}
