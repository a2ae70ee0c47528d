import type { Reader, Tx } from '../db/database.ts';
import type { Row } from '../db/schema.ts';

export type KeyRow = Row<'idempotency_keys'>;

export async function findKey(reader: Reader, caller: string, key: string): Promise<KeyRow | undefined> {
  return reader.query
    .selectFrom('idempotency_keys')
    .selectAll()
    .where('caller', '=', caller)
    .where('idempotency_key', '=', key)
    .executeTakeFirst();
}

/** Stores a key, in the place of one that is too old to count. */
export async function putKey(tx: Tx, row: KeyRow): Promise<void> {
  const { caller: _caller, idempotency_key: _key, ...answer } = row;
  await tx.query
    .insertInto('idempotency_keys')
    .values(row)
    .onConflict(conflict => conflict.columns(['caller', 'idempotency_key']).doUpdateSet(answer))
    .execute();
}

/** Deletes up to `limit` keys that are older than `before` and answers how many there were. */
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
