import { type ForumbusError, isPassing } from './error.ts';
import { delayMs, sleep } from './retry.ts';
import { framesOf } from './sse.ts';
import type { Transport } from './transport.ts';
import type { Event } from './types.ts';

export interface EventFilter {
  /** Begins after this sequence; at the beginning of the log if left out. */
  after?: number;
  run_id?: string;
  thread_id?: string;
  agent_name?: string;
  event_type?: string;
}

/** A stream without a byte for so long is lost: the service sends a heartbeat every 15 s. Seconds. */
const SILENCE = 35;

/**
 * Yields the events of the stream, and connects again after the last one. Ends when `signal` aborts.
 * @throws ForumbusError for a refusal that a retry does not change
 */
export async function* followEvents(
  transport: Transport,
  filter: EventFilter,
  signal: AbortSignal | undefined,
): AsyncGenerator<Event, void, undefined> {
  let { after = 0 } = filter;
  // Failed connections since the last frame.
  let failures = 0;
  while (!signal?.aborted) {
    let pause: number;
    try {
      for await (const { id, data } of connected(transport, { ...filter, after }, signal)) {
        failures = 0;
        if (id !== undefined) after = Number(id);
        if (data !== undefined) yield JSON.parse(data);
      }
      pause = delayMs(failures);
    } catch (error) {
      if (signal?.aborted) return;
      if (!isPassing(error)) throw error;
      pause = delayMs(failures, (error as ForumbusError).retry_after);
    }
    failures += 1;
    await sleep(pause, signal).catch(() => {});
  }
}

/** The frames of one connection. @throws ForumbusError */
async function* connected(transport: Transport, filter: EventFilter, signal: AbortSignal | undefined) {
  const call = {
    method: 'GET',
    path: '/events/stream',
    query: { ...filter },
    accept: 'text/event-stream',
    silence: SILENCE,
  } as const;
  const connection = await transport.open(call, signal);
  try {
    for await (const frame of framesOf(connection.response.body as ReadableStream<Uint8Array>, connection.alive)) {
      yield frame;
    }
  } catch (error) {
    throw connection.failure(error);
  } finally {
    connection.close();
  }
}
