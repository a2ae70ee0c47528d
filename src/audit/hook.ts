import type { FastifyInstance } from 'fastify';
import { type Audit, inSeveral } from './service.ts';

/**
 * Notes what no transaction has recorded: requests that a token was refused, and acts of several transactions. Refused
 * requests without a token, and those that a state forbids, are in the log only.
 */
export function useAudit(app: FastifyInstance, audit: Pick<Audit, 'note'>): void {
  app.addHook('onResponse', (request, reply, done) => {
    const { statusCode: status, refusal } = reply;
    if (status === 403 && request.caller?.grant && refusal) audit.note(request, { status, code: refusal.code });
    else if (status < 400 && inSeveral(request) && !reply.hasHeader('idempotency-replayed'))
      audit.note(request, { status });
    done();
  });
}
