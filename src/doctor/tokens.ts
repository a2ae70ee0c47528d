import type { Config } from '../config.ts';
import type { ReadOnlyDatabase } from '../db/database.ts';
import { type Finding, inTime, ok, problem, warning } from './finding.ts';
import { countTokens, firstToExpire } from './repository.ts';

/** Long enough to hand out new ones in working hours. Milliseconds. */
const EXPIRING_SOON_MS = 14 * 86_400_000;

/** Whether those who should get in do, and nobody else. `now` is epoch milliseconds. */
export async function checkTokens(db: ReadOnlyDatabase, { HOST }: Config, now: number): Promise<Finding[]> {
  const { made, valid } = await countTokens(db.read, now);
  if (made === 0 && isLoopback(HOST)) return [ok('tokens', `There are none, and only this machine reaches ${HOST}.`)];
  if (made === 0) {
    const finding = `There are none, and HOST is ${HOST}: whoever reaches it may do everything.`;
    return [warning('tokens', finding, 'Make tokens, or listen behind a proxy that knows its callers.')];
  }
  if (valid === 0) {
    return [problem('tokens', `All ${made} have expired or been revoked: nobody gets in.`, 'Make a new one.')];
  }
  const expiring = await firstToExpire(db.read, now, now + EXPIRING_SOON_MS);
  if (expiring.length === 0) return [ok('tokens', `${valid} of ${made} are valid.`)];
  return expiring.map(({ token_id, role, expires_at }) =>
    warning('tokens', `${token_id} (${role}) expires in ${inTime(expires_at - now)}.`, 'Make another in its place.'),
  );
}

/** Addresses that only this machine reaches (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3). */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
}
