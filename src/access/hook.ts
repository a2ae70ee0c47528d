import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Refusal } from '../errors.ts';
import type { RateLimits } from '../http/limits.ts';
import { anybody, type Caller } from './caller.ts';
import { permissions } from './permissions.ts';
import type { Access } from './service.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who makes the request; set before its route is reached. */
    caller: Caller;
  }
}

interface Options {
  access: Pick<Access, 'authenticate'>;
  /** Whether anybody may come in just now. */
  isOpen: () => boolean;
  /** Other origins whose pages may use the service. */
  origins: readonly string[];
  rates: RateLimits;
}

/** What every 401 says (RFC 6750, 3). */
export const CHALLENGE = { 'www-authenticate': 'Bearer realm="forumbus"' };

const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;

/**
 * Lets in who may come in. Without tokens that is everybody on this machine, but no web page that has made its way here
 * through a browser (DNS rebinding). With tokens it is whoever has one for the operation.
 */
export function useAccess(app: FastifyInstance, { access, isOpen, origins, rates }: Options): void {
  app.decorateRequest('caller', null as never);
  app.addHook('onRoute', ({ schema, method, url }) => {
    const known = schema?.hide || Object.hasOwn(permissions, schema?.operationId ?? '');
    if (!known) throw new Error(`Nobody has said who may call ${method} ${url} (access/permissions.ts).`);
  });
  app.addHook('onRequest', (request, reply, done) => {
    request.caller = anybody;
    try {
      if (isOpen()) {
        assertLocal(request, origins);
        return done();
      }
    } catch (error) {
      return done(error as Error);
    }
    authorize(request, reply).then(() => done(), done);
  });

  /** @throws Refusal UNAUTHORIZED, FORBIDDEN, RATE_LIMITED */
  async function authorize(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { operationId = '' } = request.routeOptions.schema ?? {};
    const rule = permissions[operationId] ?? 'anybody';
    if (rule === 'anybody') return;
    // A token is looked at before anything is counted: who has a good one is not limited by what others of the same
    // address do, nor by those who only name its id.
    try {
      request.caller = await access.authenticate(request.headers.authorization);
    } catch (error) {
      if (error instanceof Refusal && error.code === 'UNAUTHORIZED') {
        await rates.ofFailures(request, reply);
        reply.headers(CHALLENGE);
      }
      throw error;
    }
    await rates.ofToken(request, reply);
    if (!request.caller.may(rule)) {
      throw new Refusal('FORBIDDEN', `The role ${request.caller.grant?.role} may not do this.`);
    }
  }
}

/** @throws Refusal HOST_NOT_ALLOWED, ORIGIN_NOT_ALLOWED */
function assertLocal({ headers }: FastifyRequest, origins: readonly string[]): void {
  const { host, origin } = headers;
  if (host !== undefined && !LOOPBACK_HOST.test(host)) {
    throw new Refusal('HOST_NOT_ALLOWED', 'A service without tokens answers to localhost, 127.0.0.1 and [::1] only.');
  }
  const foreign = origin === undefined ? isEmbeddedElsewhere(headers) : origin !== `http://${host}`;
  if (foreign && !(origin !== undefined && origins.includes(origin))) {
    throw new Refusal('ORIGIN_NOT_ALLOWED', 'Pages of other origins may not use a service without tokens.');
  }
}

/**
 * Whether a page of another origin loads this as an image, a script or a frame: without an Origin header, but by whether
 * that succeeds it learns what there is, and it can hold streams open (Fetch Metadata, W3C). A link may lead here.
 */
function isEmbeddedElsewhere(headers: FastifyRequest['headers']): boolean {
  const { 'sec-fetch-site': site, 'sec-fetch-dest': destination } = headers;
  return (site === 'cross-site' || site === 'same-site') && destination !== 'document';
}
