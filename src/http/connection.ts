import type { FastifyReply } from 'fastify';

/** Shared, since every abort without a reason creates an error with a stack. */
const GONE = new Error('The client has gone.');

/** A signal, aborted when the client leaves or the answer is sent. */
export function whileConnected(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  if (reply.raw.destroyed) gone.abort(GONE);
  else reply.raw.once('close', () => gone.abort(GONE));
  return gone.signal;
}
