import type { Reader } from '../db/database.ts';
import type { Row } from '../db/schema.ts';

/** Expiring tokens listed at most. */
const MAX_NAMED = 10;
/** Tokens of logins, which end by themselves. */
const SIGNED_ON = 'oidc:%';

/**
 * Counts all tokens but those of logins, the ones valid at `now` (epoch milliseconds), and those of them with which people
 * answer questions.
 */
export async function countTokens(
  reader: Reader,
  now: number,
): Promise<{ total: number; valid: number; answering: number }> {
  return reader.query
    .selectFrom('tokens')
    .select(({ fn, eb }) => {
      const valid = fn
        .countAll<number>()
        .filterWhere('revoked_at', 'is', null)
        .filterWhere(eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]));
      const answering = valid.filterWhere('role', 'in', ['operator', 'admin']);
      return [fn.countAll<number>().as('total'), valid.as('valid'), answering.as('answering')];
    })
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
