import type { Clock } from '../clock.ts';
import type { Tx } from '../db/database.ts';
import { isA, textOf } from '../error-text.ts';
import type { Logger } from '../logging.ts';
import type { LeasedDelivery } from '../outbox/leased-delivery.ts';
import { OF_ERASED_RUN, type Outcome } from '../outbox/outcome.ts';
import { passThrough, type TracePart, type Tracing, traceIdOf } from '../tracing.ts';
import { backoffDelay } from './backoff.ts';
import type { AttemptCancellation } from './cancellation.ts';
import {
  type Handler,
  type HandlerContext,
  PermanentError,
  RetryAt,
  Stopping,
  TRANSACTION_TIMEOUT_MS,
} from './handler.ts';
import { runAs } from './origin.ts';

interface Dependencies {
  /** The handlers of this process by the names of their subscriptions. */
  handlers: ReadonlyMap<string, Handler>;
  clock: Clock;
  random: () => number;
  log: Logger;
  tracing: Tracing | undefined;
  /** Runs the effect in the transaction that marks the delivery sent; answers false if the lease was lost. */
  settleWith: (
    delivery: LeasedDelivery,
    effect: (tx: Tx) => Promise<Sent>,
    traceparent: string | null,
  ) => Promise<boolean>;
}

type Sent = Outcome & { kind: 'sent' };

/** The longest JSON of a result. Characters. */
const RESULT_LENGTH = 65_536;

/** An outcome to be stored, or `settled`: stored with the handler's effect (`held`), or dropped with a lost lease. */
export type Dispatched = Outcome | { kind: 'settled'; held: boolean };

/**
 * Runs the handler of a delivery and answers the outcome: directly if the handler is synchronous, else as a promise.
 */
export type Dispatch = (
  delivery: LeasedDelivery,
  cancellation: AttemptCancellation,
) => Dispatched | Promise<Dispatched>;

/** Calls the handler of a delivery with its context and time-out, and maps its end to an outcome. */
export function createDispatcher(dependencies: Dependencies): Dispatch {
  const { handlers, clock, random, log, tracing, settleWith } = dependencies;
  /** The latest transactional attempt. */
  let before: Promise<unknown> = Promise.resolve();

  return (delivery, cancellation) => {
    const { message, consumer, erased } = delivery;
    if (erased) return OF_ERASED_RUN;
    // A process claims only for the handlers that it has.
    const handler = handlers.get(consumer) as Handler;
    // Attempts count at the claim, so each one may have ended with its process or its lease, without an outcome.
    if (message.attempts > message.max_attempts) {
      return dead(handler, message.last_error ?? 'Every attempt ended without a result.');
    }
    const attempt = handler.transactional ? runInTransaction : run;
    try {
      const ran = traced(handler, delivery, trace => attempt(handler, delivery, cancellation, trace));
      return ran instanceof Promise ? ran.catch(error => failed(handler, delivery, error)) : ran;
    } catch (error) {
      return failed(handler, delivery, error);
    }
  };

  function traced<T>({ name }: Handler, { message, traceparent }: LeasedDelivery, attempt: (trace: TracePart) => T): T {
    if (!tracing) return attempt(passThrough(traceparent));
    const { message_id, topic } = message;
    return tracing.process({ message_id, topic, handler: name }, traceparent, attempt);
  }

  /** Such attempts take turns, so that between two of them the writes of others have theirs. */
  async function runInTransaction(
    handler: Handler,
    delivery: LeasedDelivery,
    cancellation: AttemptCancellation,
    trace: TracePart,
  ): Promise<Dispatched> {
    const effect = async (tx: Tx) => run(handler, delivery, cancellation, trace, tx);
    const held = before.then(() => settleWith(delivery, effect, trace.traceparent));
    before = held.catch(() => {});
    return { kind: 'settled', held: await held };
  }

  /** Calls the handler and, if it answers a promise, waits for it. Throws, or rejects with, the handler's error. */
  function run(
    handler: Handler,
    delivery: LeasedDelivery,
    cancellation: AttemptCancellation,
    trace: TracePart,
    tx?: Tx,
  ): Sent | Promise<Sent> {
    const { message } = delivery;
    const { traceparent } = trace;
    const { message_id, topic, attempts, generation } = message;
    const sent: Sent = { kind: 'sent' };
    const context: HandlerContext = {
      get signal() {
        return cancellation.signal;
      },
      get log() {
        const trace_id = traceparent === null ? {} : { trace_id: traceIdOf(traceparent) };
        return log.child({ message_id, topic, attempt: attempts, handler: handler.name, ...trace_id });
      },
      attempt: attempts,
      idempotency_key: `${message_id}:${delivery.lease.position}:${generation}`,
      traceparent: traceparent ?? undefined,
      permanent: reason => new PermanentError(reason),
      retryAt: time => new RetryAt(time),
      record: result => {
        // Serialized here, so that a result that is not JSON fails inside the handler.
        sent.result = resultText(result);
      },
      ...(tx && { tx: tx.query }),
    };
    const origin = { handler: handler.name, message_id, fail: (error: unknown) => cancellation.cancel(error) };
    // A copy: changes by the handler must not reach the delivery.
    const handling = trace.run(() => runAs(origin, () => handler.handle({ ...message }, context, tx)));
    return isThenable(handling) ? finished(handling, handler, cancellation).then(() => sent) : sent;
  }

  /**
   * Waits for a handler until it finishes, is cancelled or exceeds its time-out. A handler that ignores its signal must
   * not keep its slot or its transaction.
   */
  async function finished(
    handling: PromiseLike<unknown>,
    { policy, transactional }: Handler,
    cancellation: AttemptCancellation,
  ): Promise<void> {
    const { timeout_ms } = policy;
    const most = transactional ? Math.min(timeout_ms, TRANSACTION_TIMEOUT_MS) : timeout_ms;
    const why = most < timeout_ms ? ', the time-out of transactional handlers' : '';
    const expire = () => cancellation.cancel(new Error(`The handler did not end within ${most} ms${why}.`));
    const timer = setTimeout(expire, most).unref();
    try {
      await Promise.race([handling, cancellation.cancelled]);
    } finally {
      clearTimeout(timer);
    }
  }

  function failed(handler: Handler, { message }: LeasedDelivery, error: unknown): Outcome {
    // A lost lease uses an attempt: a handler that outlives its lease every time must become dead.
    if (isA(error, Stopping)) return { kind: 'released' };
    const text = textOf(error);
    const time = RetryAt.timeOf(error);
    if (time !== undefined) {
      // Without an attempt used, a time that is over would be tried for ever without a pause.
      const now = clock.now();
      return { kind: 'postponed', until: time > now ? time : now + handler.policy.backoff_base_ms, error: text };
    }
    if (isA(error, PermanentError) || message.attempts >= message.max_attempts) return dead(handler, text);
    return { kind: 'retry', delayMs: backoffDelay(handler.policy, message.attempts, random), error: text };
  }
}

function dead({ policy }: Handler, error: string): Outcome {
  return { kind: 'dead', error, blocks: policy.dead === 'block' };
}

/** @throws TypeError */
function resultText(result: Record<string, unknown>): string {
  const text: string | undefined = JSON.stringify(result);
  if (!text?.startsWith('{')) throw new TypeError('record was given something that is no JSON object.');
  if (text.length > RESULT_LENGTH) {
    throw new TypeError(`record was given ${text.length} characters of JSON; ${RESULT_LENGTH} are the most.`);
  }
  return text;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function';
}
