import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { type Erasable, erasingSubject } from '../db/erasing.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

export type KeyRow = Row<'idempotency_keys'> & Erasable;

const subject = ['run_id', 'thread_id'] as const;
const answerColumns = ['fingerprint', 'status', 'headers', 'body', 'reference', 'created_at', ...subject] as const;

export async function findKey(reader: Reader, caller: string, key: string): Promise<KeyRow | undefined> {
  return reader.first(findKeyStatement, { caller, idempotency_key: key });
}

const findKeyStatement = statement(({ query, value }: StatementBuilder<Pick<KeyRow, 'caller' | 'idempotency_key'>>) =>
  query
    .selectFrom('idempotency_keys')
    .selectAll()
    .select(erasingSubject('idempotency_keys').as('erasing'))
    .where('caller', '=', value('caller'))
    .where('idempotency_key', '=', value('idempotency_key')),
);

/** Stores a key with its answer, and overwrites an expired one. */
export function putKey(tx: Tx, row: Omit<KeyRow, 'erasing'>): void {
  tx.send(putKeyStatement, row);
}

const putKeyStatement = statement(({ query, values }: StatementBuilder<Omit<KeyRow, 'erasing'>>) =>
  query
    .insertInto('idempotency_keys')
    .values(values(['caller', 'idempotency_key', ...answerColumns]))
    .onConflict(conflict => conflict.columns(['caller', 'idempotency_key']).doUpdateSet(values(answerColumns))),
);

/** Whether any key is older than `before` (milliseconds since the epoch). */
export async function hasOldKeys(reader: Reader, before: number): Promise<boolean> {
  const [old] = await reader.query
    .selectFrom('idempotency_keys')
    .select('created_at')
    .where('created_at', '<', before)
    .orderBy('created_at')
    .limit(1)
    .execute();
  return old !== undefined;
}

/**
 * Deletes up to `limit` keys that are older than `before` (milliseconds since the epoch), oldest first.
 * @returns the number of deleted keys
 */
export async function deleteKeys(tx: Tx, before: number, limit: number): Promise<number> {
  const { numDeletedRows } = await tx.query
    .deleteFrom('idempotency_keys')
    .where(({ eb, refTuple, selectFrom }) =>
      eb(
        refTuple('caller', 'idempotency_key'),
        'in',
        selectFrom('idempotency_keys as old')
          .select(['old.caller', 'old.idempotency_key'])
          .where('old.created_at', '<', before)
          .orderBy('old.created_at')
          .limit(limit)
          .$asTuple('caller', 'idempotency_key'),
      ),
    )
    .executeTakeFirst();
  return Number(numDeletedRows);
}

/** Erases up to `limit` answers about a run or one of its threads. @returns how many */
export async function eraseStoredAnswers(tx: Tx, run_id: string, limit: number): Promise<number> {
  const { numUpdatedRows } = await tx.query
    .updateTable('idempotency_keys')
    .set({ status: ERASED_STATUS, headers: '{}', body: '', reference: null, run_id: null, thread_id: null })
    .where(
      // SQLite finds pairs by their index only if the sub-query is a single one.
      sql<boolean>`(caller, idempotency_key) in (select caller, idempotency_key from (
        select caller, idempotency_key from idempotency_keys where run_id = ${run_id} and run_id is not null
        union all
        select one.caller, one.idempotency_key from threads cross join idempotency_keys as one
        where threads.run_id = ${run_id} and one.thread_id = threads.thread_id and one.thread_id is not null
        limit ${limit}) as branch)`,
    )
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** The status of an answer that was erased: no answer has it. */
export const ERASED_STATUS = 0;
