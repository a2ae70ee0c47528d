import { type FastifyBaseLogger, type FastifyInstance, fastify } from 'fastify';
import packageJson from '../package.json' with { type: 'json' };
import { useAccess } from './access/hook.ts';
import { tokenRoutes } from './access/routes.ts';
import { useAudit } from './audit/hook.ts';
import { auditRoutes } from './audit/routes.ts';
import { newUid } from './clock.ts';
import { basePathOf, type Config, isLoopback } from './config.ts';
import { controlRoutes } from './control/routes.ts';
import { Refusal, StartError } from './errors.ts';
import { eventRoutes } from './events/routes.ts';
import { eventStreamRoutes } from './events/stream-routes.ts';
import { createHealth } from './health/health.ts';
import { healthRoutes } from './health/routes.ts';
import { hookRoutes } from './hooks/routes.ts';
import { belowBase, useBasePath } from './http/base-path.ts';
import { useDrain } from './http/drain.ts';
import { useEtags } from './http/etags.ts';
import { useCors, useSecurityHeaders } from './http/headers.ts';
import { createIdempotentWrites } from './http/idempotent-writes.ts';
import { useJson } from './http/json.ts';
import { httpLimits, serverLimits, useLimits } from './http/limits.ts';
import { useLlms } from './http/llms.ts';
import { useOpenapi } from './http/openapi.ts';
import { frameworkProblem, socketProblem, useProblems } from './http/problems.ts';
import { trustedProxies } from './http/proxies.ts';
import { RefusalLimit, RequestLog } from './http/request-log.ts';
import { useSerialization } from './http/serialization.ts';
import { useTracing } from './http/tracing.ts';
import { useTurns } from './http/turns.ts';
import { bodyValidator, useValidation } from './http/validation.ts';
import { inboxRoutes } from './inbox/routes.ts';
import { callOf } from './invocation.ts';
import { lifecycleRoutes } from './lifecycle/routes.ts';
import { linkRoutes } from './links/routes.ts';
import type { Logger } from './logging.ts';
import { mcpRoutes } from './mcp/routes.ts';
import { useRequestMetrics } from './metrics/requests.ts';
import { metricsRoutes } from './metrics/routes.ts';
import { createScrape } from './metrics/scrape.ts';
import { singleSignOnRoutes } from './oidc/routes.ts';
import { outboxRoutes } from './outbox/routes.ts';
import { pageRoutes } from './page/routes.ts';
import { questionRoutes } from './questions/routes.ts';
import { runRoutes } from './runs/routes.ts';
import { components, documented } from './schema-registry.ts';
import { createServices, type Overrides } from './services.ts';
import { signalRoutes } from './signals/routes.ts';
import { statsRoutes } from './stats/routes.ts';
import { subscriptionRoutes } from './subscriptions/routes.ts';
import { threadRoutes } from './threads/routes.ts';
import { webhookRoutes } from './webhooks/routes.ts';
import { busRoutes } from './worker/routes.ts';

/** In the order of the OpenAPI document. */
const apiRoutes = [
  signalRoutes,
  questionRoutes,
  controlRoutes,
  inboxRoutes,
  hookRoutes,
  threadRoutes,
  runRoutes,
  lifecycleRoutes,
  statsRoutes,
  eventRoutes,
  eventStreamRoutes,
  outboxRoutes,
  busRoutes,
  subscriptionRoutes,
  webhookRoutes,
  mcpRoutes,
  tokenRoutes,
  auditRoutes,
  pageRoutes,
];

/**
 * Builds the service; it does not listen yet. `close()` drains requests, then handlers, then closes the database.
 * @param fail called with what the process has to end for
 */
export async function buildApp(
  config: Config,
  log: Logger,
  overrides: Overrides = {},
  fail?: (error: Error) => void,
): Promise<FastifyInstance> {
  const services = await createServices(config, log, overrides, fail);
  const { access, forum, waits, delivery, metrics } = services;
  const firstToken = callOf('token', 'create --role admin --actor operator:<your name>');
  if (access.longRequests.isOpen && !isLoopback(config.HOST)) {
    await services.close();
    throw new StartError(
      `At HOST=${config.HOST} anybody could come in, as there are no tokens. Make the first one with ` +
        `\`${firstToken}\`, or listen on 127.0.0.1.`,
    );
  }
  if (access.longRequests.isOpen) {
    log.warn(
      'The service has no tokens: every program on this machine may do everything. ' +
        `\`${firstToken}\` makes the first.`,
    );
  }
  const { version } = packageJson;
  const refusals = new RefusalLimit(log);
  const basePath = basePathOf(config);
  const trustProxy = trustedProxies(config.TRUST_PROXY);
  const requestLog = new RequestLog(services.tracing, refusals);
  const app = fastify({
    loggerInstance: log as FastifyBaseLogger,
    genReqId: request => callersId(request.headers['x-request-id']) ?? newUid(),
    logController: requestLog,
    ...serverLimits,
    ...(trustProxy && { trustProxy }),
    ...(basePath !== '' && { rewriteUrl: belowBase(basePath) }),
    return503OnClosing: false,
    frameworkErrors: frameworkProblem(requestLog, metrics.rejected),
    clientErrorHandler: socketProblem(log, refusals, metrics.rejected),
    // Node's own answer to a request without a Host header has no body.
    http: { ...httpLimits, requireHostHeader: false },
  });
  // Node's own answer to an unknown Expect header has no body either.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  useTurns(app);
  useTracing(app, services.tracing);
  useSecurityHeaders(app);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    if (request.headers.host === undefined && request.raw.httpVersion === '1.1') {
      throw new Refusal('MALFORMED_REQUEST', 'An HTTP/1.1 request needs a Host header.');
    }
  });

  useBasePath(app, basePath);
  useProblems(app, requestLog, metrics.rejected);
  useRequestMetrics(app, metrics.instruments);
  useJson(app, components);
  useValidation(app, components);
  useSerialization(app, components);
  useEtags(app);
  app.addHook('preHandler', async request => requestLog.accepted(request));
  const drain = useDrain(app, config.SHUTDOWN_GRACE_MS);
  const origins = config.CORS_ORIGINS === '' ? [] : config.CORS_ORIGINS.split(',');
  await useCors(app, origins);
  const rates = await useLimits(app, {
    requestsPerMinute: config.RATE_LIMIT_PER_MINUTE,
    maxEventLoopDelay: config.MAX_EVENT_LOOP_DELAY_MS,
    isProxy: trustProxy ?? (() => false),
  });
  const { tokens, logins, longRequests, singleSignOn } = access;
  const { authenticate: login } = logins;
  const { identified } = requestLog;
  useAccess(app, { access: tokens, login, opening: longRequests, origins, rates, identified });
  useAudit(app, forum.audit);
  await useOpenapi(app, { components: documented, version });

  const writes = createIdempotentWrites({ db: services.db, keys: forum.keys, trail: forum.audit });
  if (config.ROLE !== 'worker') {
    const maxPayload = config.MAX_PAYLOAD_BYTES;
    const dependencies = {
      ...forum,
      ...waits,
      ...delivery,
      access: tokens,
      logins,
      longRequests,
      singleSignOn,
      maxPayload,
      clock: services.clock,
      origins,
      basePath,
      version,
      validator: bodyValidator(components),
      times: overrides.mcpHoldTimes,
    };
    await app.register(linkRoutes({ links: forum.links, writes }));
    if (singleSignOn) await app.register(singleSignOnRoutes({ singleSignOn, writes, basePath }));
    for (const routes of apiRoutes) await app.register(routes({ ...dependencies, writes, readers: metrics.streams }));
  }
  const health = createHealth({ ...services, ...delivery, drain, log, dispatches: config.ROLE !== 'http' });
  await app.register(healthRoutes({ health, drain, access: tokens, opening: longRequests, version }));
  const scrape = createScrape({
    ...{ ...services, ...metrics, ...delivery, ...waits, ...forum },
    ...{ version, health, drain },
  });
  await app.register(metricsRoutes({ scrape }));

  useLlms(app);

  app.addHook('onReady', () => services.start());
  // The worker stops while requests drain, so that both get the whole grace period.
  app.addHook('preClose', async () => {
    services.release();
    // onClose awaits the same promise and reports its error.
    services.stop().catch(() => {});
  });
  app.addHook('onClose', () => services.close());
  return app;
}

/** The caller's request id, if it fits into a header and a log line. */
function callersId(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[\x21-\x7e]{1,128}$/.test(header) ? header : undefined;
}
