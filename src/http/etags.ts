import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type } from 'typebox';

/** The header of a read that may be answered with 304. */
export const IfNoneMatch = Type.Object({
  'if-none-match': Type.Optional(Type.String({ description: 'The ETag that the caller has; 304 if it is current.' })),
});

/** What such a read may answer beside its resource. */
export const notModified = { 304: Type.Null({ description: 'What the caller has is current.' }) };

/**
 * The strong tag of a resource with a version; undefined for anything else. What depends on who looks (`unseen`) is a
 * part of it, since that changes without the version.
 */
export function etagOf(resource: unknown): string | undefined {
  const { version, unseen } = (resource ?? {}) as { version?: unknown; unseen?: unknown };
  if (typeof version !== 'number') return undefined;
  return `"${version}${unseen === undefined ? '' : unseen ? '-unseen' : '-seen'}"`;
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
 * An ETag on everything with a version, and 304 for reads whose If-None-Match names it (RFC 9110, 13.1.2). What has a tag
 * may be kept by its caller alone, who asks each time whether it is current; with no-store a browser would keep nothing
 * and never ask.
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
    // The comparison is weak here: W/"3" is the version 3, too.
    const tags = asked.split(',').map(one => one.trim().replace(/^W\//, ''));
    if (!tags.includes('*') && !tags.includes(String(tag))) return body;
    reply.code(304).removeHeader('content-type').removeHeader('content-length');
    return null;
  });
}
