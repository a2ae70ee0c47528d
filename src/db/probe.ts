import { sql } from 'kysely';
import type { Database } from './database.ts';
import { type StatementBuilder, statement } from './statement.ts';

/**
 * A write that leaves nothing behind: a row that is gone again when it is committed. Both engines have to store the pages
 * that it was on, so it finds a full disk and a database that can only be read, which an empty transaction does not.
 */
export function createProbe(write: Database['write']): () => Promise<void> {
  return () =>
    write(
      async tx => {
        tx.send(insertProbeStatement, {});
        tx.send(deleteProbeStatement, {});
      },
      { first: true },
    );
}

// No topic is empty.
const insertProbeStatement = statement(({ query }: StatementBuilder<object>) =>
  query.insertInto('topics').values({ topic: sql.lit('') }),
);

const deleteProbeStatement = statement(({ query }: StatementBuilder<object>) =>
  query.deleteFrom('topics').where('topic', '=', sql.lit('')),
);
