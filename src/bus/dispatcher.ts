import type { Clock } from '../clock.ts';
import type { Tx } from '../db/database.ts';
import { EVENT_TOPICS } from '../events/envelope.ts';
import type { Logger } from '../logging.ts';
import type { Delivery, Outcome } from '../outbox/delivery.ts';
import { type Backoff, backoffDelay } from './backoff.ts';
import { type Handler, type HandlerContext, PermanentError, RetryAt } from './handler.ts';
import type { HandlerRegistry } from './registry.ts';

interface Dependencies {
  registry: HandlerRegistry;
  backoff: Backoff;
  clock: Clock;
  random: () => number;
  log: Logger;
  /** Runs the effect in the transaction that marks the delivery sent; false if the lease has been lost. */
  settleWith: (delivery: Delivery, effect: (tx: Tx) => Promise<void>) => Promise<boolean>;
}

/** The outcome still has to be stored, or (`settled`) was stored together with the handler's effect, or could not be. */
export type Dispatched = Outcome | { kind: 'settled'; held: boolean };

/** Hands a message to the handlers of its topic and turns what they do into an outcome. Never rejects. */
export type Dispatch = (delivery: Delivery, signal: AbortSignal) => Promise<Dispatched>;

export function createDispatcher({ registry, backoff, clock, random, log, settleWith }: Dependencies): Dispatch {
  return async (delivery, signal) => {
    const { message } = delivery;
    // Attempts are counted at the claim: whoever claimed it before died with it, or lost it, every time.
    if (message.attempts > message.max_attempts)
      return { kind: 'dead', error: message.last_error ?? 'Every attempt ended without a result.' };
    const handlers = registry.of(message.topic);
    if (handlers.length === 0) {
      if (message.topic.startsWith(EVENT_TOPICS)) return { kind: 'sent' };
      return { kind: 'unhandled', error: `no handler for topic ${message.topic}` };
    }
    try {
      const [only] = handlers;
      if (handlers.length === 1 && only?.transactional) {
        const held = await settleWith(delivery, tx => run(only, delivery, signal, tx));
        return { kind: 'settled', held };
      }
      for (const handler of handlers) await run(handler, delivery, signal);
      return { kind: 'sent' };
    } catch (error) {
      return failed(delivery, error);
    }
  };

  async function run(handler: Handler, { message }: Delivery, signal: AbortSignal, tx?: Tx): Promise<void> {
    const { message_id, topic, attempts, generation } = message;
    const context: HandlerContext = {
      signal,
      log: log.child({ message_id, topic, attempt: attempts, handler: handler.name }),
      attempt: attempts,
      idempotency_key: `${message_id}:${generation}`,
      permanent: reason => new PermanentError(reason),
      retryAt: time => new RetryAt(time),
      ...(tx && { tx: tx.query }),
    };
    await handler.handle(message, context);
  }

  function failed({ message }: Delivery, error: unknown): Outcome {
    if (error instanceof RetryAt)
      return { kind: 'postponed', until: Math.max(error.time, clock.now()), error: error.message };
    const text = error instanceof Error ? error.message : String(error);
    if (error instanceof PermanentError || message.attempts >= message.max_attempts)
      return { kind: 'dead', error: text };
    return { kind: 'retry', delayMs: backoffDelay(backoff, message.attempts, random), error: text };
  }
}
