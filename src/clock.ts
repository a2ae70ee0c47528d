import { randomUUIDv7 } from 'node:crypto';
import { memoize } from './memoize.ts';

/** Where the service reads the time. Milliseconds since the Unix epoch, UTC. */
export interface Clock {
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** Makes the unique part of every id: a UUIDv7 (RFC 9562) without its hyphens, so that ids sort by the time they were made. */
export type NewUid = () => string;

export const newUid: NewUid = () => randomUUIDv7().replaceAll('-', '');

/** RFC 3339, UTC, milliseconds: the only form in which a time leaves the service. */
export const toTimestamp: (milliseconds: number) => string = memoize(
  milliseconds => new Date(milliseconds).toISOString(),
  1000,
);

/** As {@link toTimestamp}; a time that has not come stays null. */
export function toTimestampOrNull(milliseconds: number | null): string | null {
  return milliseconds === null ? null : toTimestamp(milliseconds);
}
