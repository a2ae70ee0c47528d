import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import rateLimit, { type FastifyRateLimitStore } from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Refusal } from '../errors.ts';
import { limitConnections } from './connections.ts';
import { addressOf } from './proxies.ts';

/*
 * Limits that keep one caller from starving the rest: sizes, timeouts, connections, and requests per minute.
 * Connections are limited in connections.ts, streams and waits in access/long-requests.ts, queued writes in db/group-commit.ts.
 * docs/limits.md lists all limits.
 */

/** Request line and headers together. Bytes. */
const HEADERS_SIZE = 16_384;
const HEADERS_COUNT = 100;
/** Characters. A path holds two names of 200 characters, each up to four percent-encoded bytes. */
const URL_LENGTH = 8192;
const PARAMETER_LENGTH = 4000;
/** Bytes. `POST /outbox` has a limit of its own (`MAX_PAYLOAD_BYTES`). */
const BODY_SIZE = 262_144;

/** Deadlines for the headers and for the whole request to arrive, and the interval of the check. Milliseconds. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 13_000;
const CHECK_INTERVAL_MS = 1000;
/** Timeout of idle connections, longer than the usual 60 s of proxies, so that these close first. Milliseconds. */
const KEEP_ALIVE_MS = 72_000;
/** Timeout of an answer whose client reads nothing; heartbeats keep streams below it. Milliseconds. */
const STALLED_MS = 60_000;

const MINUTE_MS = 60_000;
const FAILURES_PER_MINUTE = 60;
const DOCUMENTS_PER_MINUTE = 120;
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
  /** Whether the connections from an address are those of many callers. */
  isProxy: (address: string) => boolean;
}

/** Applies all limits of this file that need no authentication; the rate limits it returns are for the access hook. */
export async function useLimits(
  app: FastifyInstance,
  { requestsPerMinute, maxEventLoopDelay, isProxy }: Settings,
): Promise<Limits> {
  const trust = limitConnections(app.server, app.log, isProxy);
  useSizeLimits(app);
  useUnreadBodies(app);
  useStallTimeout(app);
  useAnswerBudget(app);
  if (maxEventLoopDelay > 0) useLoadShedding(app, maxEventLoopDelay);
  return { ...(await createRateLimits(app, requestsPerMinute)), trust: ({ raw }) => trust(raw.socket) };
}

/**
 * Refuses long URLs, query strings whose percent-encoding is malformed or not UTF-8 (the router refuses such paths), and
 * too many headers. @throws Refusal URI_TOO_LONG, MALFORMED_URL, HEADERS_TOO_LARGE
 */
function useSizeLimits(app: FastifyInstance): void {
  app.addHook('onRequest', ({ raw }, _reply, done) => {
    if ((raw.url?.length ?? 0) > URL_LENGTH) {
      return done(new Refusal('URI_TOO_LONG', `A URL may have at most ${URL_LENGTH} characters.`));
    }
    if (!isDecodable(raw.url ?? '')) {
      return done(new Refusal('MALFORMED_URL', 'The percent-encoding of the query string is malformed or not UTF-8.'));
    }
    // Raw headers alternate between names and values.
    if (raw.rawHeaders.length > 2 * HEADERS_COUNT) {
      return done(new Refusal('HEADERS_TOO_LARGE', `A request may have at most ${HEADERS_COUNT} headers.`));
    }
    done();
  });
}

function isDecodable(url: string): boolean {
  try {
    decodeURIComponent(url.slice(url.indexOf('?') + 1));
    return true;
  } catch {
    return false;
  }
}

/**
 * Closes the connection after an answer that came before the whole body, unless the rest is short. Node would read and
 * discard it all.
 */
function useUnreadBodies(app: FastifyInstance): void {
  app.addHook('onSend', (request, reply, _payload, done) => {
    if (isEndless(request.raw)) reply.header('connection', 'close');
    done();
  });
}

/** Whether the rest of a request's body is of unknown length, or too long to discard. */
export function isEndless({ complete, headers }: IncomingMessage): boolean {
  if (complete) return false;
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > BODY_SIZE;
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
    const { caller } = request;
    const key = caller?.grant ? caller.id : addressOf(request);
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
const PROBES = ['getHealth', 'getLiveness', 'getReadiness', 'getVersion', 'getMetrics'];

export function isProbe({ routeOptions }: FastifyRequest): boolean {
  return PROBES.includes(routeOptions.schema?.operationId ?? '');
}

/** Of the event loop's delay. Milliseconds. */
const RESOLUTION_MS = 10;

// Shared: capturing a stack per refusal would cost time under load.
const OVERLOADED = new Refusal('SERVICE_UNAVAILABLE', 'The service is overloaded; retry later.');

/**
 * Sheds load: refuses requests while the average event loop delay of the last second exceeds the limit.
 * @param maxEventLoopDelay milliseconds
 * @throws Refusal SERVICE_UNAVAILABLE
 */
function useLoadShedding(app: FastifyInstance, maxEventLoopDelay: number): void {
  // Unlike process.memoryUsage(), which libraries sample too, this opens no file, so it works when none is left.
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  const interval = Math.max(1000, maxEventLoopDelay);
  let late = 0;
  let timer: NodeJS.Timeout | undefined;
  // A loop that does not turn between two samples counts as infinitely late.
  const sample = () => {
    late = delays.count === 0 ? Number.POSITIVE_INFINITY : delays.mean / 1e6 - RESOLUTION_MS;
    delays.reset();
  };
  app.addHook('onReady', done => {
    delays.enable();
    // The start is slow, too: what the first interval measures does not count.
    timer = setTimeout(() => {
      delays.reset();
      timer = setInterval(sample, interval).unref();
    }, interval).unref();
    done();
  });
  app.addHook('onRequest', (request, _reply, done) => {
    if (late > maxEventLoopDelay && !isProbe(request)) return done(OVERLOADED);
    done();
  });
  app.addHook('onClose', async () => {
    clearTimeout(timer);
    delays.disable();
  });
}

/** Counts requests per minute, and refuses those above the limit. @throws Refusal RATE_LIMITED */
interface RateLimits {
  /** Counts an authenticated request, by its token. */
  limitToken(request: FastifyRequest, reply: FastifyReply): Promise<void>;
  /** Counts a request whose authentication failed, by its address. */
  limitFailures(request: FastifyRequest, reply: FastifyReply): Promise<void>;
  /** Counts a request for the API's description without a token, by its address. */
  limitDocuments(request: FastifyRequest, reply: FastifyReply): Promise<void>;
}

/** The limits that the access hook applies. */
export interface Limits extends RateLimits {
  /** Keeps the connection of a caller that may do something when others must make room. */
  trust(request: FastifyRequest): void;
}

/**
 * How many requests of each caller came in its window. Windows go by the monotonic clock. A wall clock that is set back
 * would make one last until it has caught up.
 */
class Counts implements FastifyRateLimitStore {
  /** The least recently active caller first. */
  readonly #windows = new Map<string, { began: number; current: number }>();

  incr(caller: string, done: Parameters<FastifyRateLimitStore['incr']>[1], timeWindow: number): void {
    const now = performance.now();
    const last = this.#windows.get(caller);
    const { began, current } = last && now < last.began + timeWindow ? last : { began: now, current: 0 };
    this.#windows.delete(caller);
    this.#windows.set(caller, { began, current: current + 1 });
    if (this.#windows.size > COUNTED_CALLERS) this.#windows.delete(this.#windows.keys().next().value as string);
    done(null, { current: current + 1, ttl: began + timeWindow - now });
  }

  child(): Counts {
    return new Counts();
  }
}

/**
 * Rate limits in windows of a minute that begin with the first request. A request counts for a token, or as a failure,
 * only after authentication. So the access hook calls the limiters instead of the library's own hook.
 */
async function createRateLimits(app: FastifyInstance, perMinute: number): Promise<RateLimits> {
  await app.register(rateLimit, { global: false, store: Counts });
  const limiter = (max: number, keyGenerator: (request: FastifyRequest) => string) =>
    app.createRateLimit({ max, keyGenerator, timeWindow: MINUTE_MS });
  const tokens = limiter(perMinute, request => request.caller.id);
  const failures = limiter(FAILURES_PER_MINUTE, addressOf);
  const documents = limiter(DOCUMENTS_PER_MINUTE, addressOf);
  return {
    async limitToken(request, reply) {
      if (perMinute > 0 && !isProbe(request)) assertWithinLimit(await tokens(request), reply, 'requests per token');
    },
    async limitFailures(request, reply) {
      assertWithinLimit(await failures(request), reply, 'requests without a valid token per address');
    },
    async limitDocuments(request, reply) {
      assertWithinLimit(await documents(request), reply, 'requests for documents without a token per address');
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
