import type { Server } from 'node:http';
import { Socket } from 'node:net';
import rateLimit, { normalizeIP } from '@fastify/rate-limit';
import underPressure from '@fastify/under-pressure';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Refusal } from '../errors.ts';

/*
 * What one caller can take from the others. Sizes, times and connections are here, and requests per minute; how many
 * streams and waits a caller has is counted in access/long-requests.ts, how many writes wait in db/group-commit.ts.
 * The README has a table of all of them.
 */

/** Headers and request line together. Bytes. */
const HEADERS_SIZE = 16_384;
const HEADERS_COUNT = 100;
/** Two names of 200 characters, each of up to four percent-encoded bytes, fit into a path. Characters. */
const URL_LENGTH = 8192;
const PARAMETER_LENGTH = 4000;
const BODY_SIZE = 1_048_576;

/** A head, and a request as a whole, must have arrived by then. Looked after every second. Milliseconds. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 13_000;
const LOOK_EVERY_MS = 1000;
/** A kept connection without a request; longer than the 60 s after which common proxies close theirs. Milliseconds. */
const KEEP_ALIVE_MS = 72_000;
/** An answer of which its client has taken nothing for so long; heartbeats keep streams busy. Milliseconds. */
const STALLED_MS = 60_000;

const CONNECTIONS = 10_000;
const CONNECTIONS_PER_ADDRESS = 5000;
/** How often idle connections are closed to make room, at most. Milliseconds. */
const ROOM_EVERY_MS = 100;

const MINUTE_MS = 60_000;
const FAILURES_PER_MINUTE = 60;
/** Callers that are remembered; the one that has been silent for longest is forgotten first. */
const REMEMBERED = 10_000;

/** Answers of one caller that its clients have not taken yet. Bytes. */
const ANSWERS_PER_CALLER = 33_554_432;

/** Options of Fastify's. Timeouts are about requests that arrive, not about those that wait or stream. */
export const serverLimits = {
  bodyLimit: BODY_SIZE,
  requestTimeout: REQUEST_TIMEOUT_MS,
  keepAliveTimeout: KEEP_ALIVE_MS,
  routerOptions: { maxParamLength: PARAMETER_LENGTH },
};

/** Options of Node's server. */
export const httpLimits = {
  maxHeaderSize: HEADERS_SIZE,
  headersTimeout: HEADERS_TIMEOUT_MS,
  connectionsCheckingInterval: LOOK_EVERY_MS,
};

interface Settings {
  /** Of one token; 0 for any number. */
  requestsPerMinute: number;
  /** Milliseconds; 0 for any. */
  maxEventLoopDelay: number;
}

/** Puts all limits of this file in force, before anything is known about who makes a request. */
export async function useLimits(
  app: FastifyInstance,
  { requestsPerMinute, maxEventLoopDelay }: Settings,
): Promise<RateLimits> {
  limitConnections(app.server);
  useSizes(app);
  useStallTimeout(app);
  useAnswerBudget(app);
  if (maxEventLoopDelay > 0) await useLoadShedding(app, maxEventLoopDelay);
  return createRateLimits(app, requestsPerMinute);
}

interface ConnectionLimits {
  all: number;
  perAddress: number;
}

/**
 * Caps the connections, in all and of one address; those beyond are closed without an answer. Kept connections on which
 * nothing happens then make room for whoever comes next.
 */
export function limitConnections(
  server: Server,
  { all, perAddress }: ConnectionLimits = { all: CONNECTIONS, perAddress: CONNECTIONS_PER_ADDRESS },
): void {
  const counts = new Map<string, number>();
  let roomMadeAt = 0;
  const makeRoom = () => {
    const now = performance.now();
    if (now - roomMadeAt < ROOM_EVERY_MS) return;
    roomMadeAt = now;
    server.closeIdleConnections();
  };
  server.maxConnections = all;
  server.on('drop', makeRoom);
  server.on('connection', socket => {
    const address = normalizeIP(socket.remoteAddress ?? '');
    const count = counts.get(address) ?? 0;
    if (count >= perAddress) {
      socket.destroy();
      makeRoom();
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

/** Refuses requests whose URL is too long or that have too many headers. @throws Refusal URI_TOO_LONG, HEADERS_TOO_LARGE */
function useSizes(app: FastifyInstance): void {
  app.addHook('onRequest', ({ raw }, _reply, done) => {
    if ((raw.url?.length ?? 0) > URL_LENGTH) {
      return done(new Refusal('URI_TOO_LONG', `A URL may have ${URL_LENGTH} characters.`));
    }
    // Names and values in turn.
    if (raw.rawHeaders.length > 2 * HEADERS_COUNT) {
      return done(new Refusal('HEADERS_TOO_LARGE', `A request may have ${HEADERS_COUNT} headers.`));
    }
    done();
  });
}

/** Cuts off clients that do not take their answers, which the service has to hold for them until then. */
export function useStallTimeout(app: FastifyInstance, milliseconds = STALLED_MS): void {
  app.addHook('onSend', ({ raw: { socket } }, _reply, _payload, done) => {
    // Node sets another time when the answer has been sent. What app.inject() puts here is no socket.
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
      reply.removeHeader('etag');
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

/** Probes and metrics are answered whatever the load: they say how high it is. */
const PROBES = ['getHealth', 'getLiveness', 'getReadiness', 'getMetrics'];

function isProbe({ routeOptions }: FastifyRequest): boolean {
  return PROBES.includes(routeOptions.schema?.operationId ?? '');
}

// Made once: a stack for each refusal would be work for nothing.
const OVERLOADED = new Refusal('SERVICE_UNAVAILABLE', 'The service has more to do than it can; try again.');

/**
 * Refuses requests while the event loop is late by more milliseconds than this, on average over the last second.
 * @throws Refusal SERVICE_UNAVAILABLE
 */
async function useLoadShedding(app: FastifyInstance, maxEventLoopDelay: number): Promise<void> {
  await app.register(underPressure, {
    maxEventLoopDelay,
    // A loop that has not turned between two looks counts as endlessly late.
    sampleInterval: Math.max(1000, maxEventLoopDelay),
    pressureHandler(request) {
      if (!isProbe(request)) throw OVERLOADED;
    },
  });
}

/** Counts requests. Both refuse what is too much. @throws Refusal RATE_LIMITED */
export interface RateLimits {
  /** A request whose token is good. */
  ofToken(request: FastifyRequest, reply: FastifyReply): Promise<void>;
  /** A request that has failed to show who makes it, by its address. */
  ofFailures(request: FastifyRequest, reply: FastifyReply): Promise<void>;
}

/**
 * Requests per minute, in windows that begin with the first one. A request counts for its token only once that has been
 * checked, and as a failure only when it has failed, so whoever checks tokens asks the limiters, not the library's hook.
 */
async function createRateLimits(app: FastifyInstance, perMinute: number): Promise<RateLimits> {
  await app.register(rateLimit, { global: false });
  const limiter = (max: number, keyGenerator: (request: FastifyRequest) => string) => {
    // The type leaves `cache` out, but each limiter has a store of its own, whose size this is.
    const options = { max, keyGenerator, timeWindow: MINUTE_MS, cache: REMEMBERED };
    return app.createRateLimit(options);
  };
  const tokens = limiter(perMinute, request => request.caller.id);
  const failures = limiter(FAILURES_PER_MINUTE, request => normalizeIP(request.ip));
  return {
    async ofToken(request, reply) {
      if (perMinute > 0 && !isProbe(request)) refuseBeyond(await tokens(request), reply, 'requests of a token');
    },
    async ofFailures(request, reply) {
      refuseBeyond(await failures(request), reply, 'requests without a valid token from an address');
    },
  };
}

type Count = Awaited<ReturnType<ReturnType<FastifyInstance['createRateLimit']>>>;

/** Headers as in draft-ietf-httpapi-ratelimit-headers-06, the last one with three fields. */
function refuseBeyond(count: Count, reply: FastifyReply, what: string): void {
  if (count.isAllowed) return;
  const { max, remaining, ttlInSeconds, isExceeded } = count;
  reply.headers({ 'ratelimit-limit': max, 'ratelimit-remaining': remaining, 'ratelimit-reset': ttlInSeconds });
  if (!isExceeded) return;
  reply.header('retry-after', ttlInSeconds);
  throw new Refusal('RATE_LIMITED', `There may be ${max} ${what} a minute; try again in ${ttlInSeconds} s.`);
}
