import { createHmac, timingSafeEqual } from 'node:crypto';

/** What an answer link allows: one person to answer one question, as it was when the link was made. */
export interface LinkGrant {
  question_id: string;
  /** Of the question; every change of it ends the link. */
  version: number;
  /** In whose name the answer is stored. */
  recipient: string;
  /** Epoch milliseconds. */
  expires_at: number;
}

/** Makes the token of an answer link: the grant, and its HMAC. */
export function toToken({ question_id, version, recipient, expires_at }: LinkGrant, secret: string): string {
  const text = JSON.stringify([question_id, version, recipient, expires_at]);
  const payload = Buffer.from(text).toString('base64url');
  return `${payload}.${signatureOf(payload, secret).toString('base64url')}`;
}

/** The grant of a token; undefined if the service has not made it. */
export function fromToken(token: string, secret: string): LinkGrant | undefined {
  const [payload = '', signature = ''] = token.split('.');
  const given = Buffer.from(signature, 'base64url');
  const right = signatureOf(payload, secret);
  if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
  const [question_id, version, recipient, expires_at] = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return { question_id, version, recipient, expires_at };
}

function signatureOf(payload: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(payload).digest();
}
