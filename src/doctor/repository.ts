import type { Reader } from '../db/database.ts';
import type { Row } from '../db/schema.ts';

/** Tokens that are named one by one. */
const NAMED = 10;

/** How many tokens have ever been made, and how many are valid now (epoch milliseconds). */
export async function countTokens(reader: Reader, now: number): Promise<{ made: number; valid: number }> {
  return reader.query
    .selectFrom('tokens')
    .select(({ fn, eb }) => [
      fn.countAll<number>().as('made'),
      fn
        .countAll<number>()
        .filterWhere('revoked_at', 'is', null)
        .filterWhere(eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]))
        .as('valid'),
    ])
    .executeTakeFirstOrThrow();
}

/** The valid tokens that expire before `until`, the first to do so first. Times are epoch milliseconds. */
export async function firstToExpire(
  reader: Reader,
  now: number,
  until: number,
): Promise<{ token_id: string; role: Row<'tokens'>['role']; expires_at: number }[]> {
  return reader.query
    .selectFrom('tokens')
    .select(['token_id', 'role', 'expires_at'])
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', now)
    .where('expires_at', '<', until)
    .orderBy('expires_at')
    .limit(NAMED)
    .$narrowType<{ expires_at: number }>()
    .execute();
}
