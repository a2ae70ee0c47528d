import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyRequest } from 'fastify';
import { Me } from '../access/schemas.ts';
import type { HeldSecret } from '../access/service.ts';
import { toTimestamp } from '../clock.ts';
import { Refusal } from '../errors.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { badHeader, bodyProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { CACHED_FOR_EVER, loadAssets } from './assets.ts';
import { cookieSecret, sessionCookie } from './cookie.ts';
import { documentOf, PAGE_HEADERS } from './document.ts';
import type { LoginService } from './logins.ts';
import { LoggedOut, Login, LoginLink } from './schemas.ts';

interface Dependencies {
  logins: LoginService;
  writes: IdempotentWrites;
  /** What stands before each path of the service. */
  basePath: string;
  /** Where a browser logs in by an OpenID provider and out there, if there is one. */
  singleSignOn?: { url: string; logoutUrl: string } | undefined;
}

/** The page for people, and the logins of their browsers. */
export function pageRoutes({ logins, writes, basePath, singleSignOn }: Dependencies): FastifyPluginAsyncTypebox {
  const { write } = writes;
  const tags = ['page'];
  const cookiePath = basePath || '/';
  return async app => {
    // `/q/…` is the address of a question, for links.
    for (const [url, base] of [
      ['/', './'],
      ['/q/:question_id', '../'],
    ] as const) {
      app.get(url, { schema: { hide: true } }, async (request, reply) => {
        if (!wantsHtml(request)) return reply.callNotFound();
        // The paths of the page are relative to a folder.
        if (request.originalUrl.split('?')[0] === basePath) return reply.redirect(request.url, 308);
        return reply
          .headers(PAGE_HEADERS)
          .send(documentOf(base, await loadAssets(), { singleSignOn: singleSignOn?.url }));
      });
    }

    app.get<{ Params: { '*': string } }>(
      '/assets/*',
      { config: { isCheap: true }, logLevel: 'warn', schema: { hide: true } },
      async (request, reply) => {
        const asset = (await loadAssets()).find(request.params['*']);
        if (!asset) return reply.callNotFound();
        const isGzip = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
        reply.headers({ 'content-type': asset.type, 'cache-control': CACHED_FOR_EVER, vary: 'accept-encoding' });
        if (isGzip) reply.header('content-encoding', 'gzip');
        return reply.send(isGzip ? asset.gzipped : asset.body);
      },
    );

    app.get(
      '/sw.js',
      { config: { isCheap: true }, logLevel: 'warn', schema: { hide: true } },
      async (_request, reply) => {
        const { worker } = await loadAssets();
        const headers = { 'content-type': 'text/javascript; charset=utf-8', 'cache-control': 'no-cache' };
        return reply.headers({ ...headers, 'content-security-policy': "default-src 'none'" }).send(worker);
      },
    );

    app.post(
      '/page/links',
      {
        schema: {
          operationId: 'createLoginLink',
          summary: 'Make a link that logs a browser in as the caller, once and within a minute',
          tags,
          response: { 201: Ref(LoginLink), ...bodyProblems() },
        },
      },
      async (request, reply) => {
        const held = secretHeldBy(request);
        reply.header('cache-control', 'no-store');
        return write(request, reply, async tx => {
          const { secret, expires_at } = await logins.createLink(tx, held);
          return { status: 201, body: { path: `/#login=${secret}`, expires_at: toTimestamp(expires_at) } };
        });
      },
    );

    app.post(
      '/page/login',
      {
        schema: {
          operationId: 'logIn',
          summary: 'Log a browser in by the code of a link; the answer sets a cookie',
          tags,
          body: Ref(Login),
          response: { 200: Ref(Me), ...bodyProblems() },
        },
      },
      async (request, reply) => {
        withoutKey(request);
        return write(request, reply, async tx => {
          const { secret, caller } = await logins.redeem(tx, request.body.code);
          return {
            status: 200,
            body: caller.me,
            headers: { 'set-cookie': sessionCookie(request, secret, cookiePath) },
          };
        });
      },
    );

    app.post(
      '/page/session',
      {
        schema: {
          operationId: 'openSession',
          summary: 'Log a browser in by the token of the request; the answer sets a cookie',
          tags,
          response: { 200: Ref(Me), ...bodyProblems() },
        },
      },
      async (request, reply) => {
        const held = secretHeldBy(request);
        return write(request, reply, async tx => {
          const { secret } = await logins.createSession(tx, held);
          const cookie = sessionCookie(request, secret, cookiePath);
          return { status: 200, body: request.caller.me, headers: { 'set-cookie': cookie } };
        });
      },
    );

    app.delete(
      '/page/session',
      {
        schema: {
          operationId: 'closeSession',
          summary: 'Log the browser of the request out',
          tags,
          response: { 200: Ref(LoggedOut), ...bodyProblems() },
        },
      },
      async (request, reply) =>
        write(request, reply, async tx => {
          const secret = cookieSecret(request.headers);
          const isSignedOn = secret !== undefined && (await logins.end(tx, secret));
          const next = (isSignedOn && singleSignOn?.logoutUrl) || null;
          return {
            status: 200,
            body: { logged_out: true, next },
            headers: { 'set-cookie': sessionCookie(request, '', cookiePath) },
          };
        }),
    );
  };
}

/** Whether the caller is a browser that shows a page; programs accept anything, or JSON. */
export function wantsHtml({ headers }: FastifyRequest): boolean {
  return /\btext\/html\b/.test(headers.accept ?? '');
}

/** @throws Refusal VALIDATION_FAILED with an idempotency key, FORBIDDEN if the service has no tokens */
function secretHeldBy(request: FastifyRequest): HeldSecret {
  withoutKey(request);
  const { grant } = request.caller;
  if (!grant) throw new Refusal('FORBIDDEN', 'A service without tokens needs no login.');
  return grant;
}

/** @throws Refusal VALIDATION_FAILED */
function withoutKey({ headers }: FastifyRequest): void {
  if (headers['idempotency-key'] === undefined) return;
  throw badHeader('idempotency-key', 'is not accepted here: the answer holds a secret that is stored nowhere');
}
