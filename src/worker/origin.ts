import { AsyncLocalStorage } from 'node:async_hooks';

/** The code of a handler: one attempt, or its module as it was loaded. */
export interface Origin {
  /** Name of the handler. */
  handler: string;
  message_id?: string;
  /** Fails the attempt with this error, if it still runs. */
  fail?: (error: unknown) => void;
}

/** Whose code runs: timers, callbacks and promises keep what they were started in. */
const origins = new AsyncLocalStorage<Origin>();

/** Runs code of a handler, so that what escapes from it later is known as its own. */
export function runAs<T>(origin: Origin, work: () => T): T {
  return origins.run(origin, work);
}

/**
 * For the listeners of `uncaughtException` and `unhandledRejection`, which Node calls in the context of the callback or
 * promise. Fails the attempt that the error has escaped from, if it still runs.
 * @returns whose code it came from; undefined if it was no handler's
 */
export function failOrigin(error: unknown): Origin | undefined {
  const origin = origins.getStore();
  origin?.fail?.(error);
  return origin;
}
