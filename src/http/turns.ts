import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** The most requests that begin in one turn of the event loop: some ten milliseconds of work. */
const PER_TURN = 32;

/**
 * Spreads requests that arrive together over several turns of the event loop, one of each connection at a time. So a
 * client that pipelines thousands of requests delays the next request of another connection by a few turns only.
 */
export function useTurns(app: FastifyInstance): void {
  /** The requests that wait, by connection; the connection that is next comes first. */
  const waiting = new Map<Socket, (() => void)[]>();
  let begun = 0;

  function nextTurn(): void {
    begun = 0;
    for (const [socket, requests] of waiting) {
      if (begun === PER_TURN) break;
      begun += 1;
      waiting.delete(socket);
      const begin = requests.shift();
      if (requests.length > 0) waiting.set(socket, requests);
      begin?.();
    }
    if (begun > 0) setImmediate(nextTurn);
  }

  app.addHook('onRequest', (request, _reply, done) => {
    if (begun === 0) setImmediate(nextTurn);
    if (begun < PER_TURN && waiting.size === 0) {
      begun += 1;
      return done();
    }
    const { socket } = request.raw;
    const requests = waiting.get(socket);
    if (requests) requests.push(done);
    else waiting.set(socket, [done]);
  });
}
