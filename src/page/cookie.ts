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
export function cookieSecret(headers: IncomingHttpHeaders): string | undefined {
  return cookieIn(headers, nameOf(headers));
}

/** The value of a cookie; undefined if it is missing or empty. */
export function cookieIn(headers: IncomingHttpHeaders, name: string): string | undefined {
  const pairs = (headers.cookie ?? '').split(';').map(pair => pair.trim());
  return pairs.find(pair => pair.startsWith(`${name}=`))?.slice(name.length + 1) || undefined;
}

interface Cookie {
  name: string;
  value: string;
  /** Below which it is sent. */
  path: string;
  /** How long it lasts; 0 deletes it. Milliseconds. */
  ageMs: number;
  sameSite: 'Strict' | 'Lax';
  isSecure: boolean;
}

/** A `Set-Cookie` header of a cookie that scripts cannot read. */
export function cookieFor({ name, value, path, ageMs, sameSite, isSecure }: Cookie): string {
  return `${name}=${value}; Path=${path}; Max-Age=${ageMs / 1000}; HttpOnly; SameSite=${sameSite}${isSecure ? '; Secure' : ''}`;
}

/**
 * A `Set-Cookie` header that logs a browser in; with an empty secret, out.
 * @param path below which it is sent
 * @param isSecure whether people reach the service by https; if that is left out, the request says it
 */
export function sessionCookie(
  { headers, protocol }: Pick<FastifyRequest, 'headers' | 'protocol'>,
  secret: string,
  path: string,
  ageMs = secret === '' ? 0 : SESSION_MS,
  // Behind a proxy that is not trusted only the browser knows the scheme. It says so in the Origin of each POST.
  isSecure = protocol === 'https' || headers.origin?.startsWith('https:') === true,
): string {
  return cookieFor({ name: nameOf(headers), value: secret, path, ageMs, sameSite: 'Strict', isSecure });
}

/**
 * Lets only the page itself use the cookie of its browser. Requests from elsewhere are refused, also those from other
 * ports of the host, which count as the same site. What changes something needs the page's own header as well.
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
