import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { problemTable, Refusal } from '../errors.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { loadAssets } from '../page/assets.ts';
import { cookieFor, cookieIn, sessionCookie } from '../page/cookie.ts';
import { documentOf, PAGE_HEADERS } from '../page/document.ts';
import { wantsHtml } from '../page/routes.ts';
import { FLOW_MS, LOGIN_MS, type SingleSignOn } from './service.ts';

interface Dependencies {
  singleSignOn: SingleSignOn;
  writes: Pick<IdempotentWrites, 'perform'>;
  basePath: string;
}

/** The way of a browser to the OpenID provider and back. It needs no token, and is no part of the API. */
export function singleSignOnRoutes({ singleSignOn, writes, basePath }: Dependencies): FastifyPluginAsync {
  const { url, callback, home } = singleSignOn;
  const { protocol, port, pathname } = new URL(callback);
  // People come and go by this address, whatever a proxy makes of it. The provider leads here from elsewhere: hence `Lax`.
  const kept = { name: `forumbus_oidc${port && `_${port}`}`, path: pathname, sameSite: 'Lax' } as const;
  const isSecure = protocol === 'https:';
  // A request for the head alone must neither begin nor end a login.
  const options = { exposeHeadRoute: false, schema: { hide: true } };

  /** A refusal as the page with its login, for a browser. */
  async function sendRefusal(request: FastifyRequest, reply: FastifyReply, error: unknown, base: string) {
    if (!(error instanceof Refusal) || !wantsHtml(request)) throw error;
    return reply
      .code(problemTable[error.code].status)
      .headers({ ...PAGE_HEADERS, 'cache-control': 'no-store' })
      .send(documentOf(base, await loadAssets(), { singleSignOn: url, failure: error.message }));
  }

  return async app => {
    app.get<{ Querystring: { view?: unknown } }>('/page/login/oidc', options, async (request, reply) => {
      try {
        const begun = await singleSignOn.begin(request.query.view);
        reply.header('set-cookie', cookieFor({ ...kept, value: begun.kept, ageMs: FLOW_MS, isSecure }));
        return reply.redirect(begun.page.href, 303);
      } catch (error) {
        return sendRefusal(request, reply, error, '../../');
      }
    });

    app.get('/page/logout/oidc', options, async (request, reply) => {
      try {
        return reply.redirect(await singleSignOn.logOutAt(), 303);
      } catch (error) {
        return sendRefusal(request, reply, error, '../../');
      }
    });

    app.get('/page/login/oidc/callback', options, async (request, reply) => {
      try {
        const { originalUrl, headers } = request;
        // From the provider after a log-out there: many take the address of logins for that, too.
        const isLogin = originalUrl.includes('?') || cookieIn(headers, kept.name) !== undefined;
        if (!isLogin) return reply.redirect(home, 303);
        const search = originalUrl.slice(originalUrl.indexOf('?') + 1);
        const { person, location } = await singleSignOn.finish(search, cookieIn(headers, kept.name));
        const login = async (tx: Parameters<typeof singleSignOn.logIn>[0]) => {
          const { secret, caller } = await singleSignOn.logIn(tx, person);
          // The audit trail names the person.
          request.caller = caller;
          return { secret, token_id: caller.id };
        };
        const { secret } = await writes.perform(request, login, { status: 303 });
        const session = sessionCookie(request, secret, basePath || '/', LOGIN_MS, isSecure);
        reply.header('set-cookie', [session, cookieFor({ ...kept, value: '', ageMs: 0, isSecure })]);
        return reply.redirect(location, 303);
      } catch (error) {
        return sendRefusal(request, reply, error, '../../../');
      }
    });
  };
}
