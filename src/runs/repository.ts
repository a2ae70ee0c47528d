import type { RunRow } from '../control/run-state.ts';
import type { Reader } from '../db/database.ts';

/** Runs, newest first. `before` is the `opened_sequence` of the last run of the previous page. */
export async function listRuns(
  reader: Reader,
  filter: { status?: RunRow['status'] | undefined; ticket?: string | undefined; before: number },
  limit: number,
): Promise<RunRow[]> {
  const { status, ticket, before } = filter;
  let query = reader.query.selectFrom('runs').selectAll().where('opened_sequence', '<', before);
  if (status !== undefined) query = query.where('status', '=', status);
  if (ticket !== undefined) query = query.where('ticket', '=', ticket);
  return query.orderBy('opened_sequence', 'desc').limit(limit).execute();
}
