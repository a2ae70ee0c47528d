import type { FastifyError, FastifyRequest } from 'fastify';
import { UnknownOutcome } from '../db/errors.ts';
import { problemTable, Refusal } from '../errors.ts';
import { toRefusal } from '../http/problems.ts';

/** The result of a call that was refused or failed: one sentence, and the code that HTTP would give. */
export function problemText(error: unknown, request: FastifyRequest): string {
  if (error instanceof UnknownOutcome) {
    request.log.error({ err: error }, 'tool call failed');
    return 'Whether the call took effect is unknown; call again with the same arguments, it has no second effect (SERVICE_UNAVAILABLE).';
  }
  const { code, message } = toRefusal(error as FastifyError);
  // A Refusal is expected behavior, even with 503.
  if (problemTable[code].status >= 500 && !(error instanceof Refusal))
    request.log.error({ err: error }, 'tool call failed');
  else request.log.info({ code }, 'tool call refused');
  const detail =
    code === 'INTERNAL_ERROR' ? `The service failed; its log has the details under ${request.id}.` : message;
  return `${detail.replace(/\.$/, '')} (${code}).`;
}
