import type { Static } from 'typebox';
import type { Problem as ProblemSchema } from '../http/problems.ts';

/** The problem document of a refusal (RFC 9457). Some codes add members of their own. */
export type Problem = Static<typeof ProblemSchema>;

interface Details {
  /** HTTP status; 0 if no answer came. */
  status?: number;
  problem?: Problem | undefined;
  /** Seconds. */
  retry_after?: number | undefined;
  cause?: unknown;
}

/**
 * A request that failed. `code` is that of the problem document (docs/errors.md), or one of
 * - `UNREACHABLE`: no answer came, also after the retries; `status` is 0;
 * - `UNEXPECTED_ANSWER`: the answer does not come from Forumbus, such as the page of a proxy;
 * - `INVALID_SIGNATURE`: see `verifyWebhook`.
 */
export class ForumbusError extends Error {
  override readonly name = 'ForumbusError';
  readonly code: string;
  /** HTTP status; 0 if no answer came. */
  readonly status: number;
  readonly problem: Problem | undefined;
  /** Seconds after which the service wants a retry. */
  readonly retry_after: number | undefined;

  constructor(code: string, message: string, { status = 0, problem, retry_after, cause }: Details = {}) {
    super(message, cause === undefined ? {} : { cause });
    this.code = code;
    this.status = status;
    this.problem = problem;
    this.retry_after = retry_after;
  }
}

/** Statuses of a service that cannot answer now, or of a proxy in front of it. 408: the request came too slowly. */
const PASSING = [408, 429, 502, 503, 504];

/** Whether the same request may succeed later. */
export function isPassing(error: unknown): boolean {
  return error instanceof ForumbusError && (error.code === 'UNREACHABLE' || PASSING.includes(error.status));
}
