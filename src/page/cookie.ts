import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { Refusal } from '../errors.ts';

/** How long a browser stays logged in. Milliseconds. */
export const SESSION_MS = 30 * 86_400_000;

/** The header by which the page marks its requests: a form or a link of another page cannot set it. */
const PAGE_HEADER = 'x-forumbus-page';

/** Cookies are shared by all ports of a host, so the name has the port. */
function nameOf({ host = '' }: IncomingHttpHeaders): string {
  const [, port = ''] = /:(\d+)$/.exec(host) ?? [];
  return `forumbus${port && `_${port}`}`;
}

/** The secret in the cookie of a request. */
export function secretOf(headers: IncomingHttpHeaders): string | undefined {
  const name = nameOf(headers);
  const pairs = (headers.cookie ?? '').split(';').map(pair => pair.trim());
  return pairs.find(pair => pair.startsWith(`${name}=`))?.slice(name.length + 1) || undefined;
}

/** A `Set-Cookie` header that logs a browser in; with an empty secret, out. @param path below which it is sent */
export function cookieOf(request: Pick<FastifyRequest, 'headers' | 'protocol'>, secret: string, path: string): string {
  const { headers, protocol } = request;
  const age = secret === '' ? 0 : SESSION_MS / 1000;
  // Behind a proxy that is not trusted only the browser knows the scheme; it says so in the Origin of each POST.
  const secure = protocol === 'https' || headers.origin?.startsWith('https:') ? '; Secure' : '';
  return `${nameOf(headers)}=${secret}; Path=${path}; Max-Age=${age}; HttpOnly; SameSite=Strict${secure}`;
}

/**
 * Lets only the page itself use the cookie of its browser: requests from elsewhere are refused, also those from other ports
 * of the host, which count as the same site. What changes something needs the page's own header as well.
 * @throws Refusal ORIGIN_NOT_ALLOWED
 */
export function assertOwnPage(method: string, headers: IncomingHttpHeaders): void {
  const { 'sec-fetch-site': site, origin, host } = headers;
  const isRead = method === 'GET' || method === 'HEAD';
  // `none`: the person has typed the address. Browsers leave the header out where the connection is not secure.
  const isOwn =
    typeof site === 'string'
      ? site === 'same-origin' || (isRead && site === 'none')
      : origin === undefined
        ? isRead
        : hostOf(origin) === host;
  if (isOwn && (isRead || headers[PAGE_HEADER] !== undefined)) return;
  throw new Refusal('ORIGIN_NOT_ALLOWED', 'Only the page of this service may use the login of its browser.');
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
