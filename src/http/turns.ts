import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { Refusal } from '../errors.ts';

/** The requests that begin in one turn of the event loop, so that they hold it for some ten milliseconds. */
const PER_TURN = 4;
/** The most requests that wait for their turn. */
const WAITING = 2000;

// One instance for all refusals: under overload, a stack trace for each would cost time.
const FULL = new Refusal('SERVICE_UNAVAILABLE', 'The service has too many requests waiting; retry later.');

/**
 * Gives requests their turns: in each turn of the event loop a few begin, one of each caller at a time. So a caller
 * with many requests at once, over any number of connections, delays another one by a few turns only. A caller is known
 * by the `Authorization` header, verified or not, or else by its connection. What is pipelined counts for one caller:
 * or made-up headers would make many of one.
 * @throws Refusal SERVICE_UNAVAILABLE if too many wait, unless the caller has none among them
 */
export function useTurns(app: FastifyInstance): void {
  /** The requests that wait, by caller; the caller that is next comes first. */
  const waiting = new Map<string | Socket, (() => void)[]>();
  /** The callers of connections that have requests waiting. */
  const pipelines = new Map<Socket, { caller: string | Socket; waiting: number }>();
  let count = 0;
  let begun = 0;

  function nextTurn(): void {
    begun = 0;
    if (count === 0) return;
    // First, so that a request that throws stops no other.
    setImmediate(nextTurn);
    // A caller that is put back comes again in the same turn, after all others.
    for (const [caller, requests] of waiting) {
      if (begun === PER_TURN) break;
      begun += 1;
      count -= 1;
      waiting.delete(caller);
      const begin = requests.shift();
      if (requests.length > 0) waiting.set(caller, requests);
      begin?.();
    }
  }

  app.addHook('onRequest', ({ raw: { headers, socket } }, _reply, done) => {
    if (begun === 0) setImmediate(nextTurn);
    if (begun < PER_TURN && count === 0) {
      begun += 1;
      return done();
    }
    const pipeline = pipelines.get(socket) ?? { caller: headers.authorization ?? socket, waiting: 0 };
    const requests = waiting.get(pipeline.caller) ?? [];
    if (requests.length > 0 && count >= WAITING) return done(FULL);
    requests.push(() => {
      pipeline.waiting -= 1;
      if (pipeline.waiting === 0) pipelines.delete(socket);
      done();
    });
    pipeline.waiting += 1;
    pipelines.set(socket, pipeline);
    waiting.set(pipeline.caller, requests);
    count += 1;
  });
}
