import type { Reader } from '../db/database.ts';
import type { Row } from '../db/schema.ts';

/** Expiring tokens listed at most. */
const MAX_NAMED = 10;
/** Tokens of logins, which end by themselves. */
const SIGNED_ON = 'oidc:%';

/** Counts all tokens but those of logins, and the ones valid at `now` (epoch milliseconds). */
export async function countTokens(reader: Reader, now: number): Promise<{ total: number; valid: number }> {
  return reader.query
    .selectFrom('tokens')
    .select(({ fn, eb }) => [
      fn.countAll<number>().as('total'),
      fn
        .countAll<number>()
        .filterWhere('revoked_at', 'is', null)
        .filterWhere(eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]))
        .as('valid'),
    ])
    .where('created_by', 'not like', SIGNED_ON)
    .executeTakeFirstOrThrow();
}

/** Lists the valid tokens that expire before `until`, soonest first. Times are epoch milliseconds. */
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
    .where('created_by', 'not like', SIGNED_ON)
    .orderBy('expires_at')
    .limit(MAX_NAMED)
    .$narrowType<{ expires_at: number }>()
    .execute();
}
