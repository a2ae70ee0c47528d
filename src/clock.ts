import { randomUUIDv7 } from 'node:crypto';
import { memoize } from './memoize.ts';

/** The service's source of time. `now()` gives milliseconds since the Unix epoch. */
export interface Clock {
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** The latest time that RFC 3339 can write, whose years have four digits. Epoch milliseconds. */
export const LATEST_TIME = Date.UTC(10_000, 0) - 1;

/** Makes the unique part of an id: a UUIDv7 (RFC 9562) without hyphens, so ids sort by creation time. */
export type NewUid = () => string;

export const newUid: NewUid = () => randomUUIDv7().replaceAll('-', '');

/** Epoch milliseconds as RFC 3339 text in UTC: the only form in which times leave the service. */
export const toTimestamp: (milliseconds: number) => string = memoize(
  milliseconds => new Date(milliseconds).toISOString(),
  1000,
);

/** As {@link toTimestamp}; null stays null. */
export function toTimestampOrNull(milliseconds: number | null): string | null {
  return milliseconds === null ? null : toTimestamp(milliseconds);
}
