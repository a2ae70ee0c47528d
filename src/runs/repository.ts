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

/** After every name that has a beginning: no name has this noncharacter. */
const LAST = '\u{10FFFF}';

/**
 * Runs whose names have this beginning, by name; with `name`, this one alone.
 * @param filter `after` is the name of the last run of the previous page
 */
export async function listRunsByName(
  reader: Reader,
  filter: {
    name?: string | undefined;
    beginning: string;
    after?: string | undefined;
    status?: RunRow['status'] | undefined;
    ticket?: string | undefined;
  },
  limit: number,
): Promise<RunRow[]> {
  const { name, beginning, after, status, ticket } = filter;
  let query = reader.query.selectFrom('runs').selectAll();
  if (name !== undefined) query = query.where('run_id', '=', name);
  else query = query.where('run_id', '<', beginning + LAST);
  // One lower bound only: of two, SQLite may begin at the lower one. Both engines compare the bytes of UTF-8.
  if (after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(beginning)) >= 0)
    query = query.where('run_id', '>', after);
  else if (name === undefined) query = query.where('run_id', '>=', beginning);
  if (status !== undefined) query = query.where('status', '=', status);
  if (ticket !== undefined) query = query.where('ticket', '=', ticket);
  return query.orderBy('run_id').limit(limit).execute();
}
