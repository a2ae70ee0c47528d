import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';

/**
 * On every answer, also on those that no route makes. The service speaks JSON to programs: no answer is to be guessed at,
 * framed, embedded or kept. A resource with an ETag says something else about keeping (see etags.ts), and the pages of
 * /docs bring a Content-Security-Policy of their own.
 */
export const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
};

export function useSecurityHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(SECURITY_HEADERS);
    done();
  });
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH'];
const REQUEST_HEADERS = [
  'Authorization',
  'Content-Type',
  'Idempotency-Key',
  'If-Match',
  'If-None-Match',
  'Last-Event-ID',
];
const RESPONSE_HEADERS = ['Location', 'ETag', 'Retry-After', 'Idempotency-Replayed', 'X-Request-Id'];
/** How long a browser may remember what a preflight has said. Seconds. */
const PREFLIGHT_AGE = 600;

/**
 * Lets pages of these origins read the answers (CORS, in the Fetch standard); without any, of none. Registered before all
 * that may refuse a request: a preflight carries no token, and a page wants to read why it was refused.
 */
export async function useCors(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return;
  await app.register(cors, {
    // For all others the hook does nothing, and a preflight of theirs is answered as any OPTIONS is.
    origin: (origin, done) => done(null, origin !== undefined && origins.includes(origin)),
    // It would answer in plain text.
    strictPreflight: false,
    methods: METHODS,
    allowedHeaders: REQUEST_HEADERS,
    exposedHeaders: RESPONSE_HEADERS,
    maxAge: PREFLIGHT_AGE,
  });
}
