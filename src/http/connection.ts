import type { FastifyReply } from 'fastify';

/** Made once: by itself, each abort would make an error with a stack. */
const GONE = new Error('The client has gone.');

/** Aborted when the client goes away, or has been answered. */
export function whileConnected(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  if (reply.raw.destroyed) gone.abort(GONE);
  else reply.raw.once('close', () => gone.abort(GONE));
  return gone.signal;
}
