/** Milliseconds. */
const BASE_MS = 200;
const CAP_MS = 10_000;

/**
 * The pause before a retry: full jitter over an exponential delay, after what the service asks for.
 * Source: Brooker, Exponential Backoff And Jitter (2015).
 * @param attempt counts from 0
 * @param retryAfter seconds
 */
export function delayMs(attempt: number, retryAfter = 0): number {
  return retryAfter * 1000 + Math.random() * Math.min(CAP_MS, BASE_MS * 2 ** attempt);
}

/** Resolves after `ms`. @throws the reason of `signal` if that aborts */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}
