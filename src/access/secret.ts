import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** The stored parts of a token: a public id and the hash of its secret. */
export interface TokenParts {
  token_id: string;
  /** SHA-256 of the secret, in hex. 256 random bits need no slow hash. */
  secret_hash: string;
}

/** `fbt_<id>_<secret>`: a prefix for secret scanners, 64 random bits in hex, 256 random bits in hex. */
const TOKEN = /^fbt_([0-9a-f]{16})_([0-9a-f]{64})$/;

/**
 * A random token, or another secret for the token with this id. `token` is its full text, which is stored nowhere.
 * @param tokenId 16 characters of hex
 */
export function generateToken(tokenId = randomBytes(8).toString('hex')): TokenParts & { token: string } {
  const token = `fbt_${tokenId}_${randomBytes(32).toString('hex')}`;
  return { token, ...(parseToken(token) as TokenParts) };
}

/** Undefined if the text is not a token. */
export function parseToken(text: string): TokenParts | undefined {
  const [, token_id, secret] = TOKEN.exec(text) ?? [];
  if (token_id === undefined || secret === undefined) return undefined;
  return { token_id, secret_hash: createHash('sha256').update(secret).digest('hex') };
}

/** Compares two SHA-256 hashes in hex, in constant time. */
export function isSameHash(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, 'hex'), Buffer.from(other, 'hex'));
}
