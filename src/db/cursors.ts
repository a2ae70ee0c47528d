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

/** The size that a page may have, unless one row alone is larger. Bytes of JSON; the envelope needs the rest of 1 MiB. */
const PAGE_BYTES = 1_040_000;
/** Rows of the first read of a page: few, because rows may be large. Later reads adapt, up to `most`. */
const READ_ROWS = { first: 16, most: 64 };
/** A read may be twice as large as the last one, if that had at most so many bytes. */
const SMALL_READ_BYTES = 131_072;

/** How a list reads its rows: `R` is a row, `T` its wire form. */
interface PageSource<R, T, K extends CursorKey | []> {
  /** Name of the list; every other list refuses its cursors. */
  list: string;
  cursor: string | undefined;
  /** A sample value for each part of the sort key, for example `['', 0]`. */
  shape: K;
  limit: number;
  /** Reads up to `count` rows after a key; undefined is the start of the list. */
  read: (after: K | undefined, count: number) => Promise<R[]>;
  /** The sort key of a row, in the order of the query. */
  keyOf: (row: R) => K;
  /** The wire form of these rows. */
  views: (rows: R[]) => T[] | Promise<T[]>;
}

/**
 * Reads a page of a list. It ends early, with a `next_cursor`, when its rows fill 1 MiB. Rows are read in steps. So a
 * page costs about as much memory as its answer, however large the rows are.
 * @throws Refusal INVALID_CURSOR
 */
export async function readPage<R, T, K extends CursorKey | []>(source: PageSource<R, T, K>): Promise<Page<T>> {
  const { list, limit, read, keyOf, views } = source;
  const page = createPage<T>(list, limit);
  let after = decodeCursor(list, source.cursor, source.shape);
  for (let step = READ_ROWS.first; ; ) {
    // The row beyond the limit only shows that another page follows.
    const count = Math.min(step, limit + 1 - page.items.length);
    const rows = await read(after, count);
    const before = page.bytes;
    for (const [index, view] of (await views(rows)).entries()) {
      after = keyOf(rows[index] as R);
      if (!page.add(view, after)) return page.end();
    }
    if (rows.length < count) return page.last();
    if (page.bytes - before <= SMALL_READ_BYTES) step = Math.min(step * 2, READ_ROWS.most);
  }
}

/**
 * Makes a page of rows that have been read, at least one more than `limit` if there are so many. It ends early when its
 * rows fill 1 MiB.
 * @param keyOf returns the sort key of a row, in the order of the query
 */
export function toPage<R, T>(
  list: string,
  rows: R[],
  limit: number,
  keyOf: (row: R) => CursorKey,
  view: (row: R) => T,
): Page<T> {
  const page = createPage<T>(list, limit);
  for (const row of rows) if (!page.add(view(row), keyOf(row))) return page.end();
  return page.last();
}

/** A page that takes rows until it is full. */
function createPage<T>(list: string, limit: number) {
  const items: T[] = [];
  let bytes = 0;
  let last: CursorKey = [];
  return {
    items,
    /** The size of the rows so far. */
    get bytes() {
      return bytes;
    },
    /** Takes a row; false if the page is full. */
    add(item: T, key: CursorKey): boolean {
      if (items.length === limit) return false;
      const size = Buffer.byteLength(JSON.stringify(item)) + 1;
      if (items.length > 0 && bytes + size > PAGE_BYTES) return false;
      items.push(item);
      bytes += size;
      last = key;
      return true;
    },
    /** The page, which others follow. */
    end: (): Page<T> => ({ items, next_cursor: encodeCursor(list, last) }),
    /** The last page. */
    last: (): Page<T> => ({ items, next_cursor: null }),
  };
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
