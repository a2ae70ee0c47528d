import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';

/**
 * Headers of every answer, also of errors outside of any route. Answers are JSON for programs: browsers must not sniff,
 * frame, embed or cache them. etags.ts overrides cache-control; the pages of /docs override the Content-Security-Policy.
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

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];
const REQUEST_HEADERS = [
  'Authorization',
  'Content-Type',
  'Idempotency-Key',
  'If-Match',
  'If-None-Match',
  'Last-Event-ID',
];
const RESPONSE_HEADERS = ['Location', 'ETag', 'Retry-After', 'Idempotency-Replayed', 'X-Request-Id'];
/** How long a browser may cache the answer to a preflight. Seconds. */
const PREFLIGHT_AGE = 600;

/**
 * Lets pages of these origins read the answers (CORS, in the Fetch standard). Registered before any hook that refuses
 * requests. A preflight carries no token, and a page needs CORS headers to read a refusal.
 */
export async function useCors(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return;
  await app.register(cors, {
    // For other origins the hook does nothing, and their preflight gets the answer of any OPTIONS request.
    origin: (origin, done) => done(null, origin !== undefined && origins.includes(origin)),
    // A strict preflight would be refused in plain text, not by a problem document.
    strictPreflight: false,
    methods: METHODS,
    allowedHeaders: REQUEST_HEADERS,
    exposedHeaders: RESPONSE_HEADERS,
    maxAge: PREFLIGHT_AGE,
  });
}
