import type { ControlState, RunSummary } from '../../client/index.ts';
import { allOf, client } from './service.ts';
import { ofRun } from './session.ts';

/*
 * Runs that are not closed, and their agents. They are read by status. After months, a list of all has mostly closed
 * runs, and ends before those that go on.
 */

const RUNNING = ['awaiting_guidance', 'completed', 'running'] as const;
/** All agents of a closed run are validated or withdrawn. */
const BUSY = ['awaiting_guidance', 'validation_failed', 'working', 'completed'] as const;

/** @param most of each status */
export async function currentRuns(most: number, signal?: AbortSignal): Promise<RunSummary[]> {
  const lists = RUNNING.map(status => allOf(page => client.runs.list({ ...page, status }, { signal }), most));
  return (await Promise.all(lists)).flat();
}

/** Agents that are neither validated nor withdrawn. @param most of each status */
export async function busyAgents(most: number, signal?: AbortSignal): Promise<ControlState[]> {
  return (await Promise.all(BUSY.map(status => agentsWith(status, most, signal)))).flat();
}

export function agentsWith(status: string, most: number, signal?: AbortSignal): Promise<ControlState[]> {
  return allOf(page => client.agents.list({ ...page, ...ofRun(), status }, { signal }), most);
}
