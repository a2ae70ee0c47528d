import { after } from '../db/cursors.ts';
import type { Reader, Tx } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

export type TokenRow = Row<'tokens'>;

export async function findToken(reader: Reader, tokenId: string): Promise<TokenRow | undefined> {
  return reader.first(findTokenStatement, { token_id: tokenId });
}

const findTokenStatement = statement(({ query, value }: StatementBuilder<{ token_id: string }>) =>
  query.selectFrom('tokens').selectAll().where('token_id', '=', value('token_id')),
);

/** Whether a token has ever been created. */
export async function hasTokens(reader: Reader): Promise<boolean> {
  return (await reader.first(anyTokenStatement, {})) !== undefined;
}

const anyTokenStatement = statement(({ query }: StatementBuilder<object>) =>
  query.selectFrom('tokens').select('token_id').limit(1),
);

export async function insertToken(tx: Tx, row: TokenRow): Promise<void> {
  await tx.query.insertInto('tokens').values(row).execute();
}

/** @param at epoch milliseconds */
export async function setRevoked(tx: Tx, tokenId: string, at: number): Promise<void> {
  await tx.query.updateTable('tokens').set({ revoked_at: at }).where('token_id', '=', tokenId).execute();
}

/** Stores the secrets of a token and when it expires. */
export async function setSecrets(tx: Tx, row: TokenRow): Promise<void> {
  const { token_id, secret_hash, rotations, rotated_at, former_secrets, expires_at } = row;
  const changes = { secret_hash, rotations, rotated_at, former_secrets, expires_at };
  await tx.query.updateTable('tokens').set(changes).where('token_id', '=', token_id).execute();
}

/**
 * Stores a use of a token, unless another process has stored one within `renewMs` before it.
 * @param at epoch milliseconds
 */
export function setUsed(tx: Tx, tokenId: string, at: number, renewMs: number): void {
  tx.send(setUsedStatement, { token_id: tokenId, at, before: at - renewMs });
}

const setUsedStatement = statement(
  ({ query, value }: StatementBuilder<{ token_id: string; at: number; before: number }>) =>
    query
      .updateTable('tokens')
      .set({ last_used_at: value('at') })
      .where('token_id', '=', value('token_id'))
      .where(eb => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<=', value('before'))])),
);

/** Deletes tokens that ended before a time. @param madeBy the beginning of `created_by` @param before epoch milliseconds */
export async function deleteEnded(tx: Tx, madeBy: string, before: number): Promise<void> {
  await tx.query
    .deleteFrom('tokens')
    // By its index: what has ended was created before.
    .where('created_at', '<', before)
    .where('expires_at', '<', before)
    .where('created_by', 'like', `${madeBy}%`)
    .execute();
}

/** A page of tokens, oldest first. `from` is the cursor of the page before. */
export async function listTokens(
  reader: Reader,
  from: readonly [created_at: number, token_id: string] | undefined,
  limit: number,
): Promise<TokenRow[]> {
  let query = reader.query.selectFrom('tokens').selectAll();
  if (from) query = query.where(eb => after(eb, ['created_at', 'token_id'], from));
  return query.orderBy('created_at').orderBy('token_id').limit(limit).execute();
}

/** The tokens with these ids. */
export async function listTokensById(reader: Reader, tokenIds: string[]): Promise<TokenRow[]> {
  return reader.query.selectFrom('tokens').selectAll().where('token_id', 'in', tokenIds).execute();
}
