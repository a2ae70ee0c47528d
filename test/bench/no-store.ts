import { type FastifyBaseLogger, fastify } from 'fastify';
import { useAccess } from '../../src/access/hook.ts';
import type { LongRequests } from '../../src/access/long-requests.ts';
import type { Access } from '../../src/access/service.ts';
import { newUid } from '../../src/clock.ts';
import type { Database, Tx } from '../../src/db/database.ts';
import { useDrain } from '../../src/http/drain.ts';
import { useEtags } from '../../src/http/etags.ts';
import { useSecurityHeaders } from '../../src/http/headers.ts';
import { createIdempotentWrites } from '../../src/http/idempotent-writes.ts';
import { useJson } from '../../src/http/json.ts';
import { httpLimits, serverLimits, useLimits } from '../../src/http/limits.ts';
import { frameworkProblem, socketProblem, useProblems } from '../../src/http/problems.ts';
import { RefusalLimit, RequestLog } from '../../src/http/request-log.ts';
import { useSerialization } from '../../src/http/serialization.ts';
import { useTurns } from '../../src/http/turns.ts';
import { useValidation } from '../../src/http/validation.ts';
import { createLogger } from '../../src/logging.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { useRequestMetrics } from '../../src/metrics/requests.ts';
import type { QuestionWaiters } from '../../src/questions/waiting.ts';
import { components } from '../../src/schema-registry.ts';
import type { SignalCommand } from '../../src/signals/command.ts';
import { signalRoutes } from '../../src/signals/routes.ts';
import type { SignalService } from '../../src/signals/service.ts';
import { v1 } from '../../src/signals/v1.ts';
import { accepted } from './accepted.ts';
import { endWithParent } from './child.ts';

/*
 * The first floor: the service as src/app.ts makes it, as far as a signal that is sent comes by, with everything but the
 * storing. Reads, validates and answers as much as the service does. To be kept like src/app.ts.
 */

const log = createLogger(process.env.LOG_LEVEL ?? 'warn');
const { rejected, instruments } = createMetrics();
const refusals = new RefusalLimit(log);
const requestLog = new RequestLog(undefined, refusals);
const app = fastify({
  loggerInstance: log as FastifyBaseLogger,
  genReqId: request => String(request.headers['x-request-id'] ?? newUid()),
  logController: requestLog,
  ...serverLimits,
  return503OnClosing: false,
  frameworkErrors: frameworkProblem(requestLog, rejected),
  clientErrorHandler: socketProblem(log, refusals, rejected),
  http: { ...httpLimits, requireHostHeader: false },
});
useTurns(app);
useSecurityHeaders(app);
app.addHook('onRequest', async (request, reply) => {
  reply.header('x-request-id', request.id);
});
useProblems(app, requestLog, rejected);
useRequestMetrics(app, instruments);
useJson(app, components);
useValidation(app, components);
useSerialization(app, components);
useEtags(app);
app.addHook('preHandler', async request => requestLog.accepted(request));
useDrain(app, 0);
const rates = await useLimits(app, { requestsPerMinute: 6000, maxEventLoopDelay: 1000, isProxy: () => false });

/** A write without a database. */
const db = { write: <T>(work: (tx: Tx) => Promise<T>) => work({} as Tx) } as Database;
const writes = createIdempotentWrites({
  db,
  trail: { record() {} },
  keys: {} as Parameters<typeof createIdempotentWrites>[0]['keys'],
});
const signals = {
  append: async (_tx: Tx, signal: SignalCommand) => accepted(signal),
  touches: () => [],
  versions: [v1],
  versionOf: () => v1,
  commandOf: (body: unknown) => v1.toCommand(body),
} as unknown as SignalService;
const opening = { isOpen: true, checkOpen: async () => true };
useAccess(app, { access: {} as Access, opening, origins: [], rates, identified: () => {} });
await app.register(
  signalRoutes({
    signals,
    questionWaiters: {} as QuestionWaiters,
    longRequests: {} as LongRequests,
    writes,
  }),
);
app.get('/readyz', { schema: { hide: true } }, () => ({ status: 'ok' }));
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
endWithParent();
