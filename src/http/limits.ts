import type { Server } from 'node:http';
import { Socket } from 'node:net';
import rateLimit, { normalizeIP } from '@fastify/rate-limit';
import underPressure from '@fastify/under-pressure';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Refusal } from '../errors.ts';

/*
 * Limits that keep one caller from starving the rest: sizes, timeouts, connections, and requests per minute.
 * Streams and waits are limited in access/long-requests.ts, queued writes in db/group-commit.ts.
 * docs/limits.md lists all limits.
 */

/** Request line and headers together. Bytes. */
const HEADERS_SIZE = 16_384;
const HEADERS_COUNT = 100;
/** Characters. A path holds two names of 200 characters, each up to four percent-encoded bytes. */
const URL_LENGTH = 8192;
const PARAMETER_LENGTH = 4000;
const BODY_SIZE = 1_048_576;

/** Deadlines for the headers and for the whole request to arrive, and the interval of the check. Milliseconds. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 13_000;
const CHECK_INTERVAL_MS = 1000;
/** Timeout of idle connections, longer than the usual 60 s of proxies, so that these close first. Milliseconds. */
const KEEP_ALIVE_MS = 72_000;
/** Timeout of an answer whose client reads nothing; heartbeats keep streams below it. Milliseconds. */
const STALLED_MS = 60_000;

const CONNECTIONS = 10_000;
const CONNECTIONS_PER_ADDRESS = 5000;
/** Least time between two evictions of idle connections. Milliseconds. */
const EVICTION_INTERVAL_MS = 100;

const MINUTE_MS = 60_000;
const FAILURES_PER_MINUTE = 60;
/** Callers counted at once; the least recently active one is evicted first. */
const COUNTED_CALLERS = 10_000;

/** Answers of one caller that its clients have not taken yet. Bytes. */
const ANSWERS_PER_CALLER = 33_554_432;

/** Options for Fastify. The timeouts concern arriving requests, not those that wait or stream. */
export const serverLimits = {
  bodyLimit: BODY_SIZE,
  requestTimeout: REQUEST_TIMEOUT_MS,
  keepAliveTimeout: KEEP_ALIVE_MS,
  routerOptions: { maxParamLength: PARAMETER_LENGTH },
};

/** Options for Node's HTTP server. */
export const httpLimits = {
  maxHeaderSize: HEADERS_SIZE,
  headersTimeout: HEADERS_TIMEOUT_MS,
  connectionsCheckingInterval: CHECK_INTERVAL_MS,
};

interface Settings {
  /** Per token; 0 sets no limit. */
  requestsPerMinute: number;
  /** Milliseconds; 0 sets no limit. */
  maxEventLoopDelay: number;
}

/** Applies all limits of this file that need no authentication; the rate limits it returns are for the access hook. */
export async function useLimits(
  app: FastifyInstance,
  { requestsPerMinute, maxEventLoopDelay }: Settings,
): Promise<RateLimits> {
  limitConnections(app.server);
  useSizeLimits(app);
  useStallTimeout(app);
  useAnswerBudget(app);
  if (maxEventLoopDelay > 0) await useLoadShedding(app, maxEventLoopDelay);
  return createRateLimits(app, requestsPerMinute);
}

interface ConnectionLimits {
  total: number;
  perAddress: number;
}

/**
 * Caps the connections, in total and per address. A connection beyond the cap is closed without an answer, and idle
 * connections are evicted to make room for the next one.
 */
export function limitConnections(
  server: Server,
  { total, perAddress }: ConnectionLimits = { total: CONNECTIONS, perAddress: CONNECTIONS_PER_ADDRESS },
): void {
  const counts = new Map<string, number>();
  let evictedAt = 0;
  const evictIdle = () => {
    const now = performance.now();
    if (now - evictedAt < EVICTION_INTERVAL_MS) return;
    evictedAt = now;
    server.closeIdleConnections();
  };
  server.maxConnections = total;
  server.on('drop', evictIdle);
  server.on('connection', socket => {
    const address = normalizeIP(socket.remoteAddress ?? '');
    const count = counts.get(address) ?? 0;
    if (count >= perAddress) {
      socket.destroy();
      evictIdle();
      return;
    }
    counts.set(address, count + 1);
    socket.once('close', () => {
      const left = (counts.get(address) ?? 1) - 1;
      if (left === 0) counts.delete(address);
      else counts.set(address, left);
    });
  });
}

/** Refuses long URLs and too many headers. @throws Refusal URI_TOO_LONG, HEADERS_TOO_LARGE */
function useSizeLimits(app: FastifyInstance): void {
  app.addHook('onRequest', ({ raw }, _reply, done) => {
    if ((raw.url?.length ?? 0) > URL_LENGTH) {
      return done(new Refusal('URI_TOO_LONG', `A URL may have at most ${URL_LENGTH} characters.`));
    }
    // Raw headers alternate between names and values.
    if (raw.rawHeaders.length > 2 * HEADERS_COUNT) {
      return done(new Refusal('HEADERS_TOO_LARGE', `A request may have at most ${HEADERS_COUNT} headers.`));
    }
    done();
  });
}

/** Disconnects clients that do not read their answers, which the service must buffer until then. */
export function useStallTimeout(app: FastifyInstance, milliseconds = STALLED_MS): void {
  app.addHook('onSend', ({ raw: { socket } }, _reply, _payload, done) => {
    // Node sets the keep-alive timeout once the answer is sent. app.inject() has no real socket.
    if (socket instanceof Socket) socket.setTimeout(milliseconds);
    done();
  });
}

/**
 * Caps the bytes of the answers to reads that a caller has not taken yet: each of them holds memory.
 * @throws Refusal RATE_LIMITED in the place of the answer beyond
 */
export function useAnswerBudget(app: FastifyInstance, budget = ANSWERS_PER_CALLER): void {
  const bytesOf = new Map<string, number>();
  app.addHook('onSend', (request, reply, answer, done) => {
    const isAnswer = typeof answer === 'string' || Buffer.isBuffer(answer);
    if (!isAnswer || request.method !== 'GET' || reply.statusCode !== 200 || isProbe(request)) return done();
    const { caller, ip } = request;
    const key = caller?.grant ? caller.id : normalizeIP(ip);
    const size = Buffer.byteLength(answer);
    const pending = bytesOf.get(key) ?? 0;
    if (pending > 0 && pending + size > budget) {
      reply.removeHeader('etag').header('cache-control', 'no-store');
      return done(
        new Refusal('RATE_LIMITED', `The caller has not taken ${pending} bytes of answers; take them first.`),
      );
    }
    bytesOf.set(key, pending + size);
    reply.raw.once('close', () => {
      const left = (bytesOf.get(key) ?? size) - size;
      if (left > 0) bytesOf.set(key, left);
      else bytesOf.delete(key);
    });
    done();
  });
}

/** Health and metrics are answered under any load, since they report it. */
const PROBES = ['getHealth', 'getLiveness', 'getReadiness', 'getMetrics'];

export function isProbe({ routeOptions }: FastifyRequest): boolean {
  return PROBES.includes(routeOptions.schema?.operationId ?? '');
}

// Shared: capturing a stack per refusal would cost time under load.
const OVERLOADED = new Refusal('SERVICE_UNAVAILABLE', 'The service is overloaded; retry later.');

/**
 * Sheds load: refuses requests while the average event loop delay of the last second exceeds the limit.
 * @param maxEventLoopDelay milliseconds
 * @throws Refusal SERVICE_UNAVAILABLE
 */
async function useLoadShedding(app: FastifyInstance, maxEventLoopDelay: number): Promise<void> {
  // A loop that does not turn between two samples counts as infinitely late.
  const sampleInterval = Math.max(1000, maxEventLoopDelay);
  // The start is slow, too. The first sample after it still measures it, and counts until the second.
  let measuredFrom = Number.POSITIVE_INFINITY;
  app.addHook('onReady', done => {
    measuredFrom = performance.now() + 2 * sampleInterval;
    done();
  });
  await app.register(underPressure, {
    maxEventLoopDelay,
    sampleInterval,
    pressureHandler(request) {
      if (!isProbe(request) && performance.now() >= measuredFrom) throw OVERLOADED;
    },
  });
}

/** Counts requests per minute, and refuses those above the limit. @throws Refusal RATE_LIMITED */
export interface RateLimits {
  /** Counts an authenticated request, by its token. */
  limitToken(request: FastifyRequest, reply: FastifyReply): Promise<void>;
  /** Counts a request whose authentication failed, by its address. */
  limitFailures(request: FastifyRequest, reply: FastifyReply): Promise<void>;
}

/**
 * Rate limits in windows of a minute that begin with the first request. A request counts for a token, or as a failure,
 * only after authentication, so the access hook calls the limiters instead of the library's own hook.
 */
async function createRateLimits(app: FastifyInstance, perMinute: number): Promise<RateLimits> {
  await app.register(rateLimit, { global: false });
  const limiter = (max: number, keyGenerator: (request: FastifyRequest) => string) => {
    // `cache` is missing in the type, but sets the size of this limiter's own store.
    const options = { max, keyGenerator, timeWindow: MINUTE_MS, cache: COUNTED_CALLERS };
    return app.createRateLimit(options);
  };
  const tokens = limiter(perMinute, request => request.caller.id);
  const failures = limiter(FAILURES_PER_MINUTE, request => normalizeIP(request.ip));
  return {
    async limitToken(request, reply) {
      if (perMinute > 0 && !isProbe(request)) assertWithinLimit(await tokens(request), reply, 'requests per token');
    },
    async limitFailures(request, reply) {
      assertWithinLimit(await failures(request), reply, 'requests without a valid token per address');
    },
  };
}

type Count = Awaited<ReturnType<ReturnType<FastifyInstance['createRateLimit']>>>;

/** Sends the headers of draft-ietf-httpapi-ratelimit-headers-06, the last draft with three fields. */
function assertWithinLimit(count: Count, reply: FastifyReply, counted: string): void {
  if (count.isAllowed) return;
  const { max, remaining, ttlInSeconds, isExceeded } = count;
  reply.headers({ 'ratelimit-limit': max, 'ratelimit-remaining': remaining, 'ratelimit-reset': ttlInSeconds });
  if (!isExceeded) return;
  reply.header('retry-after', ttlInSeconds);
  throw new Refusal('RATE_LIMITED', `The limit is ${max} ${counted} per minute; retry in ${ttlInSeconds} s.`);
}
