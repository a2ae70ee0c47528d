import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';

/** No route has such a path, so it is answered as any unknown one. */
const OUTSIDE = '/.outside';
/** The form of a request target for proxies, up to its path (RFC 9112, 3.2.2). */
const AUTHORITY = /^https?:\/\/[^/?]*/i;

/**
 * The `rewriteUrl` option of Fastify: takes the base path away, which neither routes nor hooks know. A path outside of it
 * leads nowhere.
 */
export function belowBase(base: string): (request: IncomingMessage) => string {
  return ({ url = '' }) => {
    if (base === '') return url;
    const target = url.replace(AUTHORITY, '');
    const path = target.slice(base.length);
    if (!target.startsWith(base) || !/^([/?]|$)/.test(path)) return OUTSIDE;
    return path.startsWith('/') ? path : `/${path}`;
  };
}

/** Puts the base path before the path in a `Location`. */
export function useBasePath(app: FastifyInstance, base: string): void {
  if (base === '') return;
  app.addHook('onSend', (_request, reply, _payload, done) => {
    const location = reply.getHeader('location');
    if (typeof location === 'string' && location.startsWith('/')) reply.header('location', base + location);
    done();
  });
}
