import type { Reader, Tx } from '../db/database.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import type { RunRow } from './run-state.ts';

/** Columns of a run that can change. */
const changing = [
  'brief',
  'first_ticket',
  'ticket',
  'title',
  'status',
  'agents_count',
  'open_questions_count',
  'clear_count',
  'absent_count',
  'updated_at',
  'closed_at',
  'erased_at',
  'version',
] as const;

export async function findRun(reader: Reader, runId: string): Promise<RunRow | undefined> {
  return reader.first(findRunStatement, { run_id: runId });
}

const findRunStatement = statement(({ query, value }: StatementBuilder<Pick<RunRow, 'run_id'>>) =>
  query.selectFrom('runs').selectAll().where('run_id', '=', value('run_id')),
);

export function insertRun(tx: Tx, row: RunRow): void {
  tx.send(insertRunStatement, row);
}

const insertRunStatement = statement(({ query, values }: StatementBuilder<RunRow>) =>
  query.insertInto('runs').values(values(['run_id', 'opened_sequence', ...changing])),
);

/** Updates the columns that can change. */
export function updateRun(tx: Tx, row: RunRow): void {
  tx.send(updateRunStatement, row);
}

const updateRunStatement = statement(({ query, value, values }: StatementBuilder<RunRow>) =>
  query.updateTable('runs').set(values(changing)).where('run_id', '=', value('run_id')),
);

/** Closed runs whose texts are not erased and that were closed before a time (epoch milliseconds), the oldest first. */
export async function listClosedBefore(reader: Reader, before: number, limit: number): Promise<RunRow[]> {
  const query = reader.query.selectFrom('runs').selectAll().where('closed_at', 'is not', null);
  return query
    .where('erased_at', 'is', null)
    .where('closed_at', '<', before)
    .where('open_questions_count', '=', 0)
    .orderBy('closed_at')
    .limit(limit)
    .execute();
}
