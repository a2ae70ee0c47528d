import type { Reader, Tx } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

export type KeyRow = Row<'idempotency_keys'>;

const answerColumns = ['fingerprint', 'status', 'headers', 'body', 'reference', 'created_at'] as const;

export async function findKey(reader: Reader, caller: string, key: string): Promise<KeyRow | undefined> {
  return reader.first(findKeyStatement, { caller, idempotency_key: key });
}

const findKeyStatement = statement(({ query, value }: StatementBuilder<Pick<KeyRow, 'caller' | 'idempotency_key'>>) =>
  query
    .selectFrom('idempotency_keys')
    .selectAll()
    .where('caller', '=', value('caller'))
    .where('idempotency_key', '=', value('idempotency_key')),
);

/** Stores a key with its answer, and overwrites an expired one. */
export function putKey(tx: Tx, row: KeyRow): void {
  tx.send(putKeyStatement, row);
}

const putKeyStatement = statement(({ query, values }: StatementBuilder<KeyRow>) =>
  query
    .insertInto('idempotency_keys')
    .values(values(['caller', 'idempotency_key', ...answerColumns]))
    .onConflict(conflict => conflict.columns(['caller', 'idempotency_key']).doUpdateSet(values(answerColumns))),
);

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
