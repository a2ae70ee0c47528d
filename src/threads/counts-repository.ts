import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

export type Count = Row<'counts'>;

/** Adds what `count` says, which may be negative. */
export function addCount(tx: Tx, change: Count): void {
  tx.send(addCountStatement, change);
}

const addCountStatement = statement(({ query, values }: StatementBuilder<Count>) =>
  query
    .insertInto('counts')
    .values(values(['subject', 'value', 'count']))
    .onConflict(conflict =>
      conflict
        .columns(['subject', 'value'])
        .doUpdateSet(eb => ({ count: eb('counts.count', '+', eb.ref('excluded.count')) })),
    ),
);

/** All counts of subjects that have few values. */
export async function readCounts(reader: Reader, subjects: string[]): Promise<Count[]> {
  return reader.query.selectFrom('counts').selectAll().where('subject', 'in', subjects).execute();
}

/** The values of a subject that has many which are counted most often. */
export async function largestCounts(
  reader: Reader,
  subject: 'thread_ticket' | 'thread_run',
  limit: number,
): Promise<Count[]> {
  return (
    reader.query
      .selectFrom('counts')
      .selectAll()
      .where('subject', '=', subject)
      // Said again in the words of the partial index.
      .where('subject', 'in', sql<string>`('thread_ticket', 'thread_run')`)
      .orderBy('count', 'desc')
      .limit(limit)
      .execute()
  );
}
