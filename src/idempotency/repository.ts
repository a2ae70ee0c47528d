import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { type Erasable, erasing } from '../db/erasing.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

export type KeyRow = Row<'idempotency_keys'> & Erasable;

const answerColumns = ['fingerprint', 'status', 'headers', 'body', 'reference', 'created_at'] as const;

export async function findKey(reader: Reader, caller: string, key: string): Promise<KeyRow | undefined> {
  return reader.first(findKeyStatement, { caller, idempotency_key: key });
}

const findKeyStatement = statement(({ query, value }: StatementBuilder<Pick<KeyRow, 'caller' | 'idempotency_key'>>) =>
  query
    .selectFrom('idempotency_keys')
    .selectAll()
    .select(erasing('idempotency_keys.run_id').as('erasing'))
    .where('caller', '=', value('caller'))
    .where('idempotency_key', '=', value('idempotency_key')),
);

/** Stores a key with its answer, and overwrites an expired one. */
export function putKey(tx: Tx, row: NewKey): void {
  tx.send(putKeyStatement, row);
}

/** It is about a run: the one that it names, or that of its thread. */
type NewKey = Omit<KeyRow, 'erasing'> & { thread_id: string | null };

const putKeyStatement = statement(({ query, value, values }: StatementBuilder<NewKey>) => {
  const named = sql<string | null>`cast(${value('run_id')} as text)`;
  const ofThread = sql`(select threads.run_id from threads where threads.thread_id = ${value('thread_id')})`;
  const run_id = sql<string | null>`case when ${named} is null then ${ofThread} else ${named} end`;
  return query
    .insertInto('idempotency_keys')
    .values({ ...values(['caller', 'idempotency_key', ...answerColumns]), run_id })
    .onConflict(conflict =>
      conflict.columns(['caller', 'idempotency_key']).doUpdateSet({ ...values(answerColumns), run_id }),
    );
});

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

/** Erases up to `limit` answers about a run. @returns how many */
export async function eraseStoredAnswers(tx: Tx, run_id: string, limit: number): Promise<number> {
  const { numUpdatedRows } = await tx.query
    .updateTable('idempotency_keys')
    .set({ status: ERASED_STATUS, headers: '{}', body: '', reference: null, run_id: null })
    .where(({ eb, refTuple, selectFrom }) =>
      eb(
        refTuple('caller', 'idempotency_key'),
        'in',
        selectFrom('idempotency_keys as one')
          .select(['one.caller', 'one.idempotency_key'])
          .where('one.run_id', '=', run_id)
          .where('one.run_id', 'is not', null)
          .limit(limit)
          .$asTuple('caller', 'idempotency_key'),
      ),
    )
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** The status of an answer that was erased: no answer has it. */
export const ERASED_STATUS = 0;
