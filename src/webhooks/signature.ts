import { createHmac, randomBytes } from 'node:crypto';

/** A signing secret as stored. */
export interface StoredSecret {
  /** `whsec_` and base64. */
  secret: string;
  /** Epoch milliseconds; null if it never expires. */
  expires_at: number | null;
}

/** Bytes of a secret that the service makes. */
const SECRET_BYTES = 32;
/** Bytes that a secret of a caller may have, as Standard Webhooks says. */
const GIVEN_BYTES = { least: 24, most: 64 };

export function newSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
}

/** Why a text is no secret; undefined if it is one. */
export function secretFault(secret: string): string | undefined {
  const text = secret.replace(/^whsec_/, '');
  const bytes = Buffer.from(text, 'base64');
  const isRight = secret.startsWith('whsec_') && bytes.toString('base64') === text;
  if (isRight && bytes.length >= GIVEN_BYTES.least && bytes.length <= GIVEN_BYTES.most) return undefined;
  return `must be whsec_ and ${GIVEN_BYTES.least} to ${GIVEN_BYTES.most} bytes in base64`;
}

/** The secrets that sign at a time. Epoch milliseconds. */
export function valid(secrets: readonly StoredSecret[], now: number): StoredSecret[] {
  return secrets.filter(({ expires_at }) => expires_at === null || expires_at > now);
}

/**
 * The headers of a webhook (Standard Webhooks 1.0): one signature for each secret, the newest first.
 * @param body the bytes that are sent
 * @param now epoch milliseconds
 */
export function signedHeaders(
  id: string,
  body: string,
  secrets: readonly StoredSecret[],
  now: number,
): Record<string, string> {
  const timestamp = String(Math.floor(now / 1000));
  const signatures = secrets.map(({ secret }) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
  });
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}
