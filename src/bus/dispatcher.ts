import type { Clock } from '../clock.ts';
import type { Tx } from '../db/database.ts';
import { EVENT_TOPICS } from '../events/envelope.ts';
import type { Logger } from '../logging.ts';
import type { Delivery, Outcome } from '../outbox/delivery.ts';
import { backoffDelay } from './backoff.ts';
import { type Handler, type HandlerContext, PermanentError, RetryAt, Stopping } from './handler.ts';
import type { HandlerRegistry } from './registry.ts';

interface Dependencies {
  registry: HandlerRegistry;
  clock: Clock;
  random: () => number;
  log: Logger;
  /** Runs the effect in the transaction that marks the delivery sent; false if the lease has been lost. */
  settleWith: (delivery: Delivery, effect: (tx: Tx) => Promise<Sent>) => Promise<boolean>;
  /** Handlers with messages of their own that wait in lanes, from a time when their topics had several handlers. */
  keptApart: ReadonlySet<string>;
}

type Sent = Outcome & { kind: 'sent' };

/** The outcome still has to be stored, or (`settled`) was stored together with the handler's effect, or could not be. */
type Dispatched = Outcome | { kind: 'settled'; held: boolean };

/** Hands a message to its handler and turns what that does into an outcome. Never rejects. */
export type Dispatch = (delivery: Delivery, signal: AbortSignal) => Promise<Dispatched>;

export function createDispatcher({ registry, clock, random, log, settleWith, keptApart }: Dependencies): Dispatch {
  return async (delivery, signal) => {
    const { message, consumer } = delivery;
    const { topic } = message;
    const handlers = registry.of(topic).filter(handler => consumer === null || handler.name === consumer);
    const [handler] = handlers;
    if (!handler) {
      if (topic.startsWith(EVENT_TOPICS) && consumer === null) return { kind: 'sent' };
      return { kind: 'unhandled', error: `no handler${consumer === null ? '' : ` ${consumer}`} for topic ${topic}` };
    }
    // Attempts are counted at the claim: whoever claimed it before died with it, or lost it, at every one.
    if (message.attempts > message.max_attempts) {
      return dead(handler, message.last_error ?? 'Every attempt ended without a result.');
    }
    // Several handlers fail apart: each gets a message of its own. So does a single one that still has some, or a newer
    // message of a key would overtake an older one.
    if (consumer === null && (handlers.length > 1 || keptApart.has(handler.name))) {
      return { kind: 'routed', consumers: handlers.map(({ name }) => name) };
    }
    try {
      if (!handler.transactional) return await run(handler, delivery, signal);
      const held = await settleWith(delivery, tx => run(handler, delivery, signal, tx));
      return { kind: 'settled', held };
    } catch (error) {
      // A lost lease is an attempt like any other: a handler that outlives its lease every time must end dead.
      return error instanceof Stopping ? { kind: 'released' } : failed(handler, delivery, error);
    }
  };

  async function run(handler: Handler, { message }: Delivery, lost: AbortSignal, tx?: Tx): Promise<Sent> {
    const { message_id, topic, attempts, generation } = message;
    const late = AbortSignal.timeout(handler.policy.timeout_ms);
    const sent: Sent = { kind: 'sent' };
    const context: HandlerContext = {
      signal: AbortSignal.any([lost, late]),
      log: log.child({ message_id, topic, attempt: attempts, handler: handler.name }),
      attempt: attempts,
      idempotency_key: `${message_id}:${generation}`,
      permanent: reason => new PermanentError(reason),
      retryAt: time => new RetryAt(time),
      record: result => {
        // Here, where it is the handler's own failure if there is no JSON for it.
        sent.result = JSON.stringify(result);
      },
      ...(tx && { tx: tx.query }),
    };
    // Whether the handler heeds its signal or not, nobody waits for it any more: a transaction is rolled back, a slot is
    // free for other messages.
    const givenUp = Promise.withResolvers<never>();
    late.addEventListener('abort', () => {
      givenUp.reject(new Error(`The handler did not end within ${handler.policy.timeout_ms} ms.`));
    });
    lost.addEventListener('abort', () => givenUp.reject(lost.reason));
    // A promise that nobody races any more must not count as unhandled.
    givenUp.promise.catch(() => {});
    await Promise.race([handler.handle(message, context, tx), givenUp.promise]);
    return sent;
  }

  function failed(handler: Handler, { message }: Delivery, error: unknown): Outcome {
    if (error instanceof RetryAt) {
      return { kind: 'postponed', until: Math.max(error.time, clock.now()), error: error.message };
    }
    const text = error instanceof Error ? error.message : String(error);
    if (error instanceof PermanentError || message.attempts >= message.max_attempts) return dead(handler, text);
    return { kind: 'retry', delayMs: backoffDelay(handler.policy, message.attempts, random), error: text };
  }
}

function dead({ policy }: Handler, error: string): Outcome {
  return { kind: 'dead', error, blocks: policy.dead === 'block' };
}
