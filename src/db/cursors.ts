import { type Expression, type ExpressionBuilder, type SqlBool, sql } from 'kysely';
import { Refusal } from '../errors.ts';

/** The values of a list's sort key at the last row of a page. */
export type CursorKey = readonly (string | number)[];

/** A page of a list: at most `limit` rows after `cursor`. */
export interface PageRequest {
  limit: number;
  cursor?: string | undefined;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

/**
 * Makes a page of `limit + 1` fetched rows: the surplus row only says that there is more.
 * @param list names the list, so that its cursors are refused by every other one
 * @param keyOf the sort key of a row, as the query ordered by it
 */
export function toPage<R>(list: string, rows: R[], limit: number, keyOf: (row: R) => CursorKey): Page<R> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { items, next_cursor: more ? encodeCursor(list, keyOf(last)) : null };
}

function encodeCursor(list: string, key: CursorKey): string {
  return Buffer.from(JSON.stringify([list, ...key])).toString('base64url');
}

/**
 * Reads a cursor back; undefined stays undefined. `shape` holds a sample value per part of the key.
 * @throws Refusal INVALID_CURSOR for anything that this list cannot have made
 */
export function decodeCursor<K extends CursorKey>(list: string, cursor: string | undefined, shape: K): K | undefined {
  if (cursor === undefined) return undefined;
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    parts = undefined;
  }
  const [name, ...key] = Array.isArray(parts) ? parts : [];
  const fits =
    name === list &&
    key.length === shape.length &&
    key.every((part, index) => typeof part === typeof shape[index] && isBindable(part)) &&
    encodeCursor(list, key) === cursor;
  if (!fits) throw new Refusal('INVALID_CURSOR', 'The cursor was not made by this list; start again without one.');
  return key as unknown as K;
}

function isBindable(part: unknown): boolean {
  return typeof part === 'string' ? !part.includes('\0') && part.isWellFormed() : Number.isSafeInteger(part);
}

/** `(a, b) > (x, y)`: the rows after a cursor, in ascending order of `columns`. Both engines read it off an index on them. */
export function after<DB, TB extends keyof DB>(
  eb: ExpressionBuilder<DB, TB>,
  columns: readonly Parameters<typeof eb.ref>[0][],
  key: CursorKey,
): Expression<SqlBool> {
  const left = sql.join(columns.map(column => eb.ref(column)));
  return sql<SqlBool>`(${left}) > (${sql.join(key.map(part => sql.val(part)))})`;
}
