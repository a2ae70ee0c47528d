import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** A token in its parts. The id says which one it is, the secret that its bearer may use it. */
export interface TokenParts {
  token_id: string;
  /** SHA-256 of the secret, in hex. 256 random bits need no slow hash. */
  secret_hash: string;
}

/** `fbt_<id>_<secret>`: a prefix that people and secret scanners know, 64 random bits, 256 random bits; both in hex. */
const TOKEN = /^fbt_([0-9a-f]{16})_([0-9a-f]{64})$/;

/** A new token; its text is known to whoever gets it here, and to nobody else. */
export function newToken(): TokenParts & { token: string } {
  const token = `fbt_${randomBytes(8).toString('hex')}_${randomBytes(32).toString('hex')}`;
  return { token, ...(parseToken(token) as TokenParts) };
}

/** Undefined if it is no token. */
export function parseToken(text: string): TokenParts | undefined {
  const [, token_id, secret] = TOKEN.exec(text) ?? [];
  if (token_id === undefined || secret === undefined) return undefined;
  return { token_id, secret_hash: createHash('sha256').update(secret).digest('hex') };
}

/** Takes the same time wherever they differ. Both are SHA-256 in hex. */
export function isSameHash(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, 'hex'), Buffer.from(other, 'hex'));
}
