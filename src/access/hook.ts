import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isLoopback } from '../config.ts';
import { Refusal } from '../errors.ts';
import { isProbe, type Limits } from '../http/limits.ts';
import { anonymous, type Caller } from './caller.ts';
import type { LongRequests } from './long-requests.ts';
import { type Permission, permissions } from './permissions.ts';
import type { Access } from './service.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Hidden route that is answered from memory, and so without a limit of its own. */
    isCheap?: boolean;
  }
  interface FastifyRequest {
    /** The caller; set before the route is reached. */
    caller: Caller;
  }
}

interface Options {
  access: Pick<Access, 'authenticate'>;
  /** The caller of a login in a browser; undefined without one. @throws Refusal UNAUTHORIZED, ORIGIN_NOT_ALLOWED */
  login?: (request: FastifyRequest) => Promise<Caller | undefined>;
  /** Knows whether the service is open, that is, has no tokens, so that requests need none. */
  opening: Pick<LongRequests, 'isOpen' | 'checkOpen'>;
  /** Foreign origins whose pages may call the service. */
  origins: readonly string[];
  rates: Limits;
  /** Called once the caller of a request is known. */
  identified: (request: FastifyRequest, reply: FastifyReply) => void;
}

/** The header of every 401 (RFC 6750, 3). */
export const CHALLENGE = { 'www-authenticate': 'Bearer realm="forumbus"' };

const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;

/**
 * Authenticates and authorizes each request. While the service has no tokens, every local program may do everything.
 * Web pages are refused, since a browser can be led here (DNS rebinding). With tokens, each operation needs one.
 */
export function useAccess(app: FastifyInstance, options: Options): void {
  const { access, login, opening, origins, rates, identified } = options;
  app.decorateRequest('caller', null as never);
  app.addHook('onRoute', ({ schema, method, url }) => {
    const known = schema?.hide || Object.hasOwn(permissions, schema?.operationId ?? '');
    if (!known) throw new Error(`access/permissions.ts has no rule for ${method} ${url}.`);
  });
  app.addHook('onRequest', (request, reply, done) => {
    request.caller = anonymous;
    admit(request, reply).then(() => done(), done);
  });

  /** @throws Refusal HOST_NOT_ALLOWED, ORIGIN_NOT_ALLOWED, UNAUTHORIZED, FORBIDDEN, RATE_LIMITED */
  async function admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { operationId = '', hide } = request.routeOptions.schema ?? {};
    const rule = permissions[operationId] ?? 'anybody';
    // Probes must be answered without a database, so they go by what was known last.
    const isOpen = rule === 'anybody' || isProbe(request) ? opening.isOpen : await opening.checkOpen();
    if (isOpen) {
      identified(request, reply);
      assertLocal(request, origins);
      rates.trust(request);
    } else if (rule !== 'anybody') {
      await authorize(request, reply, rule);
    } else {
      const { isCheap } = request.routeOptions.config;
      if (hide && !isCheap && !(await hasToken(request, reply))) await rates.limitDocuments(request, reply);
      identified(request, reply);
    }
  }

  /** Whether a request that needs no token has a valid one; it then counts as the token's. @throws Refusal RATE_LIMITED */
  async function hasToken(request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
    if (request.headers.authorization === undefined) return false;
    try {
      request.caller = await access.authenticate(request.headers.authorization);
    } catch {
      return false;
    }
    await rates.limitToken(request, reply);
    return true;
  }

  /** By its token or, without one, by the login of its browser. @throws Refusal UNAUTHORIZED, ORIGIN_NOT_ALLOWED */
  async function identify(request: FastifyRequest): Promise<Caller> {
    const { authorization } = request.headers;
    const known = authorization === undefined ? await login?.(request) : undefined;
    return known ?? access.authenticate(authorization);
  }

  /** @throws Refusal UNAUTHORIZED, FORBIDDEN, RATE_LIMITED */
  async function authorize(request: FastifyRequest, reply: FastifyReply, rule: Permission): Promise<void> {
    // Authentication comes before counting. So neither failures from the same address nor guesses with the same token
    // id use up the limit of a valid token.
    try {
      request.caller = await identify(request);
    } catch (error) {
      if (error instanceof Refusal && error.code === 'UNAUTHORIZED') {
        await rates.limitFailures(request, reply);
        reply.headers(CHALLENGE);
      }
      throw error;
    }
    rates.trust(request);
    identified(request, reply);
    await rates.limitToken(request, reply);
    if (!request.caller.may(rule)) {
      throw new Refusal('FORBIDDEN', refusalOf(request.caller));
    }
  }
}

function refusalOf({ grant, isOfRuns, isAgent }: Caller): string {
  const bound = isOfRuns && !isAgent ? ` with a token for ${grant?.runs}` : '';
  return `The role ${grant?.role} may not do this${bound}.`;
}

/** @throws Refusal HOST_NOT_ALLOWED, ORIGIN_NOT_ALLOWED */
function assertLocal({ headers, ip, protocol }: FastifyRequest, origins: readonly string[]): void {
  const { host, origin } = headers;
  if (!isLoopback(ip.replace(/^::ffff:/, ''))) {
    throw new Refusal('HOST_NOT_ALLOWED', 'A service without tokens answers only to callers on its own machine.');
  }
  if (host !== undefined && !LOOPBACK_HOST.test(host)) {
    throw new Refusal(
      'HOST_NOT_ALLOWED',
      'A service without tokens answers only to the hosts localhost, 127.0.0.1 and [::1].',
    );
  }
  const foreign = origin === undefined ? isEmbeddedElsewhere(headers) : origin !== `${protocol}://${host}`;
  if (foreign && !(origin !== undefined && origins.includes(origin))) {
    throw new Refusal('ORIGIN_NOT_ALLOWED', 'Pages of other origins may not call a service without tokens.');
  }
}

/**
 * Whether a page of another origin embeds this URL as an image, script or frame (Fetch Metadata, W3C). Such a request
 * has no Origin header, but its success tells the page what exists, and it can hold streams open. Links are allowed.
 */
function isEmbeddedElsewhere(headers: FastifyRequest['headers']): boolean {
  const { 'sec-fetch-site': site, 'sec-fetch-dest': destination } = headers;
  return (site === 'cross-site' || site === 'same-site') && destination !== 'document';
}
