import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { revisionOf } from '../revision.ts';

/** The request header of a read that may answer 304. */
export const IfNoneMatch = Type.Object({
  'if-none-match': Type.Optional(
    Type.String({ description: 'The ETag of the copy that the caller has; the answer is 304 if it is current.' }),
  ),
});

/** The further response of a read with {@link IfNoneMatch}. */
export const notModified = { 304: Type.Null({ description: 'The copy of the caller is current.' }) };

/** The strong ETag of a resource with a version, such as `"3"`; undefined for anything else. See {@link revisionOf}. */
export function etagOf(resource: unknown): string | undefined {
  const revision = revisionOf(resource);
  return revision === undefined ? undefined : `"${revision}"`;
}

/** Puts the tag of a resource with a version on the answer that holds it. */
export function tagResource(reply: FastifyReply, resource: unknown): void {
  const tag = etagOf(resource);
  if (tag === undefined) return;
  reply.header('etag', tag);
  const { method } = reply.request;
  if (method === 'GET' || method === 'HEAD') reply.header('cache-control', 'private, no-cache');
}

/**
 * Sends an ETag with every resource that has a version, and answers 304 if If-None-Match names it (RFC 9110, 13.1.2).
 * Such a resource may be cached privately and revalidated; with no-store a browser would never revalidate.
 */
export function useEtags(app: FastifyInstance): void {
  app.addHook('preSerialization', async (_request, reply, resource) => {
    tagResource(reply, resource);
    return resource;
  });
  app.addHook('onSend', async (request, reply, body) => {
    const tag = reply.getHeader('etag');
    const asked = request.headers['if-none-match'];
    if (request.method !== 'GET' || reply.statusCode !== 200 || tag === undefined || asked === undefined) return body;
    // If-None-Match compares weakly: W/"3" equals "3".
    const tags = asked.split(',').map(entry => entry.trim().replace(/^W\//, ''));
    if (!tags.includes('*') && !tags.includes(String(tag))) return body;
    reply.code(304).removeHeader('content-type').removeHeader('content-length');
    return null;
  });
}
