import { randomBytes } from 'node:crypto';

/** A traceparent of a trace of its own. */
export function newTraceparent(): string {
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}
