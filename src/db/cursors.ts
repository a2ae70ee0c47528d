import { type Expression, type ExpressionBuilder, type SqlBool, sql } from 'kysely';
import { Refusal } from '../errors.ts';

/** The values of a list's sort key at the last row of a page. */
export type CursorKey = readonly (string | number)[];

/** Asks for a page of a list: at most `limit` rows after `cursor`. */
export interface PageRequest {
  limit: number;
  cursor?: string | undefined;
}

/** A page of a list; `next_cursor` is null on the last page. */
export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

/**
 * Makes a page of up to `limit + 1` fetched rows: the extra row only shows that another page follows.
 * @param list name of the list; every other list refuses its cursors
 * @param keyOf returns the sort key of a row, in the order of the query
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
 * Decodes a cursor of `list`; undefined stays undefined.
 * @param shape a sample value for each part of the key, for example `['', 0]`
 * @throws Refusal INVALID_CURSOR if this list cannot have made the cursor
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
  if (!fits) throw new Refusal('INVALID_CURSOR', 'This list did not make the cursor; start again without a cursor.');
  return key as unknown as K;
}

/** Whether both engines accept the value as a parameter. */
function isBindable(part: unknown): boolean {
  return typeof part === 'string' ? !part.includes('\0') && part.isWellFormed() : Number.isSafeInteger(part);
}

/** `(a, b) > (x, y)`: the rows after a cursor, in ascending order of `columns`. Both engines use an index on them. */
export function after<DB, TB extends keyof DB>(
  eb: ExpressionBuilder<DB, TB>,
  columns: readonly Parameters<typeof eb.ref>[0][],
  key: CursorKey,
): Expression<SqlBool> {
  const left = sql.join(columns.map(column => eb.ref(column)));
  return sql<SqlBool>`(${left}) > (${sql.join(key.map(part => sql.val(part)))})`;
}
