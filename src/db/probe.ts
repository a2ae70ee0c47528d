import { sql } from 'kysely';
import type { Database } from './database.ts';
import { type StatementBuilder, statement } from './statement.ts';

/**
 * Makes `Database.probe`: a write that inserts a row and deletes it in the same transaction. Both engines must store
 * the row's pages, so it detects a full disk and a read-only database. An empty transaction would not.
 */
export function createProbe(write: Database['write']): () => Promise<void> {
  return () =>
    write(
      async tx => {
        tx.send(insertProbeStatement, {});
        tx.send(deleteProbeStatement, {});
      },
      { first: true, touches: ['probe'] },
    );
}

// The empty topic cannot collide with a real one: topic names are never empty.
const insertProbeStatement = statement(({ query }: StatementBuilder<object>) =>
  query.insertInto('topics').values({ topic: sql.lit('') }),
);

const deleteProbeStatement = statement(({ query }: StatementBuilder<object>) =>
  query.deleteFrom('topics').where('topic', '=', sql.lit('')),
);
