import { type Config, isLoopback } from '../config.ts';
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
    const finding = `There are none, and HOST is ${HOST}: the service will not start.`;
    return [problem('tokens', finding, "Make an admin's with npm run token.")];
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
