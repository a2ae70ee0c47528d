import type { TokenRow } from './repository.ts';
import { isSameHash } from './secret.ts';

/** The most former secrets that a token remembers. */
const FORMER_MOST = 5;

/** A secret that a rotation has replaced. */
interface FormerSecret {
  /** Secrets of a token are numbered from 0. */
  number: number;
  hash: string;
  /** Epoch milliseconds. */
  until: number;
}

/** What tells whether a secret is valid. */
type Secrets = Pick<TokenRow, 'secret_hash' | 'rotations' | 'former_secrets'>;

function formerOf({ former_secrets }: Pick<TokenRow, 'former_secrets'>): FormerSecret[] {
  return former_secrets === null ? [] : JSON.parse(former_secrets);
}

/** The number of the secret with this hash, valid or not; undefined if the token has none such. */
export function secretNumber(row: Secrets, hash: string): number | undefined {
  if (isSameHash(row.secret_hash, hash)) return row.rotations;
  return formerOf(row).find(former => isSameHash(former.hash, hash))?.number;
}

/** Whether a secret is no longer valid. A forgotten one is not. @param now epoch milliseconds */
export function isSecretOver(row: Secrets, number: number, now: number): boolean {
  if (number === row.rotations) return false;
  const former = formerOf(row).find(one => one.number === number);
  return former === undefined || former.until <= now;
}

/** When the last former secret ends; null if none is valid. Epoch milliseconds. @param now as there */
export function overlapEnd(row: Pick<TokenRow, 'former_secrets'>, now: number): number | null {
  const ends = formerOf(row).map(({ until }) => until);
  const last = Math.max(0, ...ends);
  return last > now ? last : null;
}

/**
 * The row with another secret. Each earlier secret is valid for the overlap, but never longer than it was before. So a
 * rotation that is repeated since its answer was lost takes nothing from the secret in use. An expiry begins anew.
 * @param hash of the new secret
 * @param now epoch milliseconds
 */
export function rotated(row: TokenRow, hash: string, now: number, overlapMs: number): TokenRow {
  const until = Math.min(now + overlapMs, row.expires_at ?? Number.MAX_SAFE_INTEGER);
  const former = [{ number: row.rotations, hash: row.secret_hash, until }, ...formerOf(row)]
    .map(one => ({ ...one, until: Math.min(one.until, until) }))
    .filter(one => one.until > now)
    .slice(0, FORMER_MOST);
  const life = row.expires_at === null ? null : row.expires_at - (row.rotated_at ?? row.created_at);
  return {
    ...row,
    secret_hash: hash,
    rotations: row.rotations + 1,
    rotated_at: now,
    former_secrets: former.length === 0 ? null : JSON.stringify(former),
    expires_at: life === null ? null : now + life,
  };
}
