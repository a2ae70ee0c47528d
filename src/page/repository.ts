import type { Reader, Tx } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

export type LoginRow = Row<'page_logins'>;

export async function findLogin(reader: Reader, secretHash: string): Promise<LoginRow | undefined> {
  return reader.first(findLoginStatement, { secret_hash: secretHash });
}

const findLoginStatement = statement(({ query, value }: StatementBuilder<{ secret_hash: string }>) =>
  query.selectFrom('page_logins').selectAll().where('secret_hash', '=', value('secret_hash')),
);

/** Those of these hashes whose logins have not ended. @param now epoch milliseconds */
export async function listLiveLogins(reader: Reader, secretHashes: string[], now: number): Promise<string[]> {
  const logins = reader.query.selectFrom('page_logins').select('secret_hash');
  const rows = await logins.where('secret_hash', 'in', secretHashes).where('expires_at', '>', now).execute();
  return rows.map(({ secret_hash }) => secret_hash);
}

export async function insertLogin(tx: Tx, row: LoginRow): Promise<void> {
  await tx.query.insertInto('page_logins').values(row).execute();
}

export async function deleteLogin(tx: Tx, secretHash: string): Promise<void> {
  await tx.query.deleteFrom('page_logins').where('secret_hash', '=', secretHash).execute();
}

/** @param now epoch milliseconds */
export async function deleteExpiredLogins(tx: Tx, now: number): Promise<void> {
  await tx.query.deleteFrom('page_logins').where('expires_at', '<=', now).execute();
}
