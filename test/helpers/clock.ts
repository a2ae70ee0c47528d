import type { Clock } from '../../src/clock.ts';

/** A clock that stands still until the test moves it. */
export class ManualClock implements Clock {
  time: number;

  constructor(start = Date.parse('2026-11-22T09:00:00.000Z')) {
    this.time = start;
  }

  now(): number {
    return this.time;
  }

  advance(milliseconds: number): void {
    this.time += milliseconds;
  }
}
