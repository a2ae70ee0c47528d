/*
 * What modules need that run in child processes. It imports nothing: it runs inside the service that is measured.
 */

/** The topic of messages that are to be handled, and of those that are to fail. */
export const WORK = 'bench.work';
export const STUCK = 'bench.stuck';

/** Said by the counting handler: so many messages were handled when the last of them was, on the shared clock. */
export interface Progress {
  count: number;
  /** Milliseconds. */
  at: number;
}

/** Said by the noting handler: it was called for that signal. */
export interface Started {
  signal_id: string;
  /** On the shared clock. Milliseconds. */
  at: number;
}

/** Ends this process as soon as the one that started it is gone, however that ended. Does not keep it alive. */
export function endWithParent(): void {
  process.on('disconnect', () => process.exit(0));
  process.channel?.unref();
}

/** A moment that processes of one machine can compare: they all read the same monotonic clock. Milliseconds. */
export function sharedNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
