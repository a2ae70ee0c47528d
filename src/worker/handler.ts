import type { Transaction } from 'kysely';
import type { Config } from '../config.ts';
import type { Tx } from '../db/database.ts';
import type { Schema } from '../db/schema.ts';
import { textOf } from '../error-text.ts';
import type { Logger } from '../logging.ts';
import type { Message } from '../outbox/schemas.ts';

/** What a handler is given beside the message. */
export interface HandlerContext {
  /** Aborted when the lease is lost or the service stops: whatever the handler does from then on is not counted. */
  signal: AbortSignal;
  log: Logger;
  /** 1 at the first attempt. */
  attempt: number;
  /** The same at every attempt, another one after a replay: what a downstream service should deduplicate by. */
  idempotency_key: string;
  /** Makes what the handler calls a part of the message's trace (W3C Trace Context); undefined if it belongs to none. */
  traceparent: string | undefined;
  /** `throw context.permanent(reason)`: no retry can help, the message is dead. The reason may be an error. */
  permanent(reason: unknown): Error;
  /** `throw context.retryAt(time)`: again then, without using up an attempt. */
  retryAt(time: Date | number | string): Error;
  /**
   * Keeps what the handler has made, ids for instance, on the message, as its `result`.
   * @throws TypeError if it is no object with a JSON form of at most 65,536 characters
   */
  record(result: Record<string, unknown>): void;
  /** For a transactional handler: the transaction that also marks the message sent. */
  tx?: Transaction<Schema>;
}

/** How the messages of a handler's topics are treated; a module may export any part of it as `policy`. */
export interface Policy {
  /** A dead message lets the messages behind it pass, or blocks its key until it is replayed or discarded. */
  dead: 'pass' | 'block';
  /** How long one attempt may take; a transactional one at most {@link TRANSACTION_TIMEOUT_MS}. Milliseconds. */
  timeout_ms: number;
  /** The delay before the first retry; it doubles with each attempt. Milliseconds. */
  backoff_base_ms: number;
  /** The longest delay. Milliseconds. */
  backoff_cap_ms: number;
}

/** A handler that has not ended by then has failed, or a hanging one would hold its key for ever. */
const HANDLER_TIMEOUT_MS = 600_000;

/** A transactional handler holds the only write transaction: whatever its policy says, it has no longer than this. */
export const TRANSACTION_TIMEOUT_MS = 3000;

/** How a handler's messages are treated if it does not say otherwise. */
export function defaultPolicy(config: Config): Policy {
  return {
    dead: 'pass',
    timeout_ms: HANDLER_TIMEOUT_MS,
    backoff_base_ms: config.BACKOFF_BASE_MS,
    backoff_cap_ms: config.BACKOFF_CAP_MS,
  };
}

/** What handles the messages of some topics. */
export interface Handler {
  /** Names it in logs and errors: the file it comes from. */
  name: string;
  /** Exact topics or patterns: `*` is one segment, a trailing `**` the rest. */
  topics: string[];
  /** It has database effects only, made through `context.tx`. */
  transactional: boolean;
  policy: Policy;
  /** @param tx for the service's own handlers: the whole of what `context.tx` is a part of */
  handle(message: Message, context: HandlerContext, tx?: Tx): unknown;
}

/** A handler as it comes: what its policy leaves out, the settings decide. */
export type HandlerDefinition = Omit<Handler, 'policy'> & { policy?: Partial<Policy> };

/** Why a handler's signal was aborted: the service stops, and the message goes back as if nobody had tried. */
export class Stopping extends Error {
  override readonly name = 'Stopping';
}

/** Thrown by a handler: no retry can help. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';

  constructor(reason: unknown) {
    super(textOf(reason));
  }
}

/** Thrown by a handler: not now, again at `time` (epoch milliseconds), without using up an attempt. */
export class RetryAt extends Error {
  override readonly name = 'RetryAt';
  readonly #time: number;

  constructor(time: Date | number | string) {
    const at = new Date(time);
    if (Number.isNaN(at.getTime())) throw new TypeError(`retryAt was given ${textOf(time)}, which is no time.`);
    super(`Again at ${at.toISOString()}.`);
    this.#time = at.getTime();
  }

  /** When a handler that threw this wants its message again (epoch milliseconds); undefined if it threw something else. */
  static timeOf(thrown: unknown): number | undefined {
    return typeof thrown === 'object' && thrown !== null && #time in thrown ? thrown.#time : undefined;
  }
}
