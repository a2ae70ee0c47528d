import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

export type CountRow = Row<'counts'>;

/** Adds `change.count`, which may be negative, to a part of the stored count. */
export function addCount(tx: Tx, change: CountRow): void {
  tx.send(addCountStatement, change);
}

const addCountStatement = statement(({ query, values }: StatementBuilder<CountRow>) =>
  query
    .insertInto('counts')
    .values(values(['subject', 'value', 'part', 'count']))
    .onConflict(conflict =>
      conflict
        .columns(['subject', 'value', 'part'])
        .doUpdateSet(eb => ({ count: eb('counts.count', '+', eb.ref('excluded.count')) })),
    ),
);

/** All counts of these subjects, each as the sum of its parts. Meant for subjects with few values, such as states. */
export async function readCounts(reader: Reader, subjects: readonly string[]): Promise<Omit<CountRow, 'part'>[]> {
  return reader.query
    .selectFrom('counts')
    .select(eb => ['subject', 'value', eb.cast<number>(eb.fn.sum('count'), 'bigint').as('count')])
    .where('subject', 'in', subjects)
    .groupBy(['subject', 'value'])
    .execute();
}

/** The largest counts of a subject with many values, largest first. */
export async function largestCounts(
  reader: Reader,
  subject: 'thread_ticket' | 'thread_run',
  limit: number,
): Promise<CountRow[]> {
  return (
    reader.query
      .selectFrom('counts')
      .selectAll()
      .where('subject', '=', subject)
      // Repeats the condition of the partial index, or the planner would not use it.
      .where('subject', 'in', sql<string>`('thread_ticket', 'thread_run')`)
      .orderBy('count', 'desc')
      .limit(limit)
      .execute()
  );
}
