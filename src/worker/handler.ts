import type { Transaction } from 'kysely';
import type { Config } from '../config.ts';
import type { Tx } from '../db/database.ts';
import type { Schema } from '../db/schema.ts';
import { textOf } from '../error-text.ts';
import type { Logger } from '../logging.ts';
import type { Message } from '../outbox/schemas.ts';
import type { Consumer } from '../subscriptions/subscription.ts';

/** The second argument of a handler: facts of the attempt, and ways to end it. */
export interface HandlerContext {
  /**
   * Aborted when the lease is lost, the time-out is over or the service stops. The attempt's result is then ignored.
   */
  signal: AbortSignal;
  log: Logger;
  /** 1 at the first attempt. */
  attempt: number;
  /** For deduplication in a downstream service: equal in all attempts, different after a replay. */
  idempotency_key: string;
  /** W3C Trace Context for the handler's own requests; undefined if the message has no trace. */
  traceparent: string | undefined;
  /** `throw context.permanent(reason)`: the message becomes dead without a retry. The reason may be an error. */
  permanent(reason: unknown): Error;
  /**
   * `throw context.retryAt(time)`: retries then, without using an attempt. Numbers are epoch milliseconds. The
   * end of the year 9998 is the latest. A time that is over means after `backoff_base_ms`.
   * @throws TypeError if `time` is not a time
   */
  retryAt(time: Date | number | string): Error;
  /**
   * Stores a result on the message, such as the ids that the handler has created. The last call counts.
   * @throws TypeError if it is not an object with at most 65,536 characters of JSON
   */
  record(result: Record<string, unknown>): void;
  /** For a transactional handler: the transaction that also marks the message sent. */
  tx?: Transaction<Schema>;
}

/** Retry and failure rules of a handler. A module may export any part of them as `policy`. */
export interface Policy {
  /** `pass`: later messages of the key go on after a dead one. `block`: they wait until it is replayed or discarded. */
  dead: 'pass' | 'block';
  /** Time-out of one attempt; of a transactional handler at most {@link TRANSACTION_TIMEOUT_MS}. Milliseconds. */
  timeout_ms: number;
  /** The delay before the first retry; it doubles with each attempt. Milliseconds. */
  backoff_base_ms: number;
  /** The longest delay. Milliseconds. */
  backoff_cap_ms: number;
}

/** Without a time-out, a hanging handler would block its key for ever. Milliseconds. */
const HANDLER_TIMEOUT_MS = 600_000;

/** The longest time-out of a transactional handler, which holds the only write transaction. */
export const TRANSACTION_TIMEOUT_MS = 3000;

/** The policy of a handler that exports none. */
export function defaultPolicy(config: Config): Policy {
  return {
    dead: 'pass',
    timeout_ms: HANDLER_TIMEOUT_MS,
    backoff_base_ms: config.BACKOFF_BASE_MS,
    backoff_cap_ms: config.BACKOFF_CAP_MS,
  };
}

/** A consumer of the messages of some topics. Its name, the file name of its module without extension, is that of its subscription. */
export interface Handler extends Consumer {
  /** Its effects are database writes through `context.tx`, committed together with `sent`. */
  transactional: boolean;
  policy: Policy;
  /** @param tx for the service's own handlers: the transaction behind `context.tx` */
  handle(message: Message, context: HandlerContext, tx?: Tx): unknown;
}

/** A handler before the settings complete its policy. */
export type HandlerDefinition = Omit<Handler, 'policy'> & { policy?: Partial<Policy> };

/** The reason of a cancelled handler at shutdown. The message is released and the attempt does not count. */
export class Stopping extends Error {
  override readonly name = 'Stopping';
}

/** Thrown by a handler: the message becomes dead without a retry. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';

  constructor(reason: unknown) {
    super(textOf(reason));
  }
}

/** Thrown by a handler: retry at `time` (epoch milliseconds), without using an attempt. */
export class RetryAt extends Error {
  override readonly name = 'RetryAt';
  readonly #time: number;

  /** @throws TypeError if `time` is not a time */
  constructor(time: Date | number | string) {
    const at = new Date(time);
    if (Number.isNaN(at.getTime())) throw new TypeError(`retryAt needs a time, not ${textOf(time)}.`);
    super(`The handler asked for a retry at ${at.toISOString()}.`);
    this.#time = at.getTime();
  }

  /** The time of a thrown RetryAt in epoch milliseconds; undefined for other values. */
  static timeOf(thrown: unknown): number | undefined {
    return typeof thrown === 'object' && thrown !== null && #time in thrown ? thrown.#time : undefined;
  }
}
