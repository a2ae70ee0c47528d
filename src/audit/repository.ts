import type { Reader, Tx } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

export type AuditRow = Row<'audit'>;
export type NewAuditRow = Omit<AuditRow, 'number'>;

export interface AuditFilter {
  token_id?: string | undefined;
  run_id?: string | undefined;
  operation?: string | undefined;
}

const columns = [
  ...(['at', 'operation', 'status', 'code', 'count', 'token_id', 'actor', 'address', 'request_id'] as const),
  ...(['run_id', 'resources'] as const),
];

export function insertEntry(tx: Tx, row: NewAuditRow): void {
  tx.send(insertEntryStatement, row);
}

const insertEntryStatement = statement(({ query, values }: StatementBuilder<NewAuditRow>) =>
  query.insertInto('audit').values(values(columns)),
);

/**
 * Entries, newest first, before a number. One index is read: that of the run, else of the token, else of the operation.
 * The other filters decide among its rows.
 */
export async function listEntries(
  reader: Reader,
  { token_id, run_id, operation }: AuditFilter,
  { before, after }: { before: number; after: number },
  limit: number,
): Promise<AuditRow[]> {
  let query = reader.query.selectFrom('audit').selectAll().where('number', '<', before);
  if (after > 0) query = query.where('number', '>', after);
  if (run_id !== undefined) query = query.where('run_id', '=', run_id);
  if (token_id !== undefined) query = query.where('token_id', '=', token_id);
  if (operation !== undefined) query = query.where('operation', '=', operation);
  return query.orderBy('number', 'desc').limit(limit).execute();
}

/** The first entries after a number: when each was made. */
export async function nextEntries(
  reader: Reader,
  after: number,
  limit: number,
): Promise<Pick<AuditRow, 'number' | 'at'>[]> {
  return reader.all(nextEntriesStatement, { after, limit });
}

const nextEntriesStatement = statement(({ query, value }: StatementBuilder<Record<'after' | 'limit', number>>) =>
  query
    .selectFrom('audit')
    .select(['number', 'at'])
    .where('number', '>', value('after'))
    .orderBy('number')
    .limit(value('limit')),
);

/** The number of the newest entry; 0 without any. */
export async function latestEntry(reader: Reader): Promise<number> {
  return (await reader.first(latestEntryStatement, {}))?.number ?? 0;
}

const latestEntryStatement = statement(({ query }: StatementBuilder<object>) =>
  query.selectFrom('audit').select('number').orderBy('number', 'desc').limit(1),
);

/** Deletes the entries up to a number. */
export async function deleteUpTo(tx: Tx, number: number): Promise<void> {
  await tx.query.deleteFrom('audit').where('number', '<=', number).execute();
}
