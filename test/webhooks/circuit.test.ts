import { describe, expect, it } from 'vitest';
import {
  afterFailure,
  type Circuit,
  CLOSED,
  isAbandoned,
  retryDelay,
  WEBHOOK_ATTEMPTS,
} from '../../src/webhooks/circuit.ts';

const SECOND = 1000;
const HOUR = 3_600_000;
const middle = () => 0.5;

describe('the retries of a delivery', () => {
  it('take 32 hours, and then end', () => {
    const attempts = Array.from({ length: WEBHOOK_ATTEMPTS }, (_, index) => index + 1);
    const delays = attempts.map(attempt => retryDelay(attempt, null, middle));
    const minutes = [2, 10, 30, 120, 300, 600, 840].map(minute => minute * 60 * SECOND);
    expect(delays).toEqual([5 * SECOND, 30 * SECOND, ...minutes, undefined]);
  });

  it('vary by a tenth, and wait as long as the endpoint asks, a day at most', () => {
    expect(retryDelay(1, null, () => 0)).toBe(4500);
    expect(retryDelay(1, null, () => 0.999_999)).toBe(5500);
    expect(retryDelay(1, 60 * SECOND, middle)).toBe(60 * SECOND);
    expect(retryDelay(1, 10, middle)).toBe(5 * SECOND);
    expect(retryDelay(1, 1000 * HOUR, middle)).toBe(24 * HOUR);
  });
});

describe('the circuit', () => {
  it('opens at the fifth failure in a row, and probes more and more rarely', () => {
    let circuit: Circuit = CLOSED;
    const probes: (number | null)[] = [];
    for (let failure = 1; failure <= 8; failure += 1) {
      circuit = afterFailure(circuit, 1000, null);
      probes.push(circuit.probe_at);
    }
    expect(probes).toEqual([null, null, null, null, 6000, 31_000, 121_000, 601_000]);
    expect(circuit).toMatchObject({ failures: 8, failing_since: 1000 });
  });

  it('waits with its probe as long as the endpoint asks, a day at most', () => {
    const open: Circuit = { failures: 4, failing_since: 0, probe_at: null };
    expect(afterFailure(open, 1000, 60 * SECOND).probe_at).toBe(61_000);
    expect(afterFailure(open, 1000, 1).probe_at).toBe(6000);
    expect(afterFailure(open, 1000, 1000 * HOUR).probe_at).toBe(1000 + 24 * HOUR);
    expect(afterFailure(CLOSED, 1000, 60 * SECOND).probe_at).toBeNull();
  });

  const failing = (times: readonly number[]) =>
    times.reduce<Circuit>((circuit, time) => afterFailure(circuit, time, null), CLOSED);

  it('gives a webhook up after five days of failures only, five of them at least', () => {
    expect(isAbandoned(failing([0, 0, 0, 0, 0]), 120 * HOUR - 1)).toBe(false);
    expect(isAbandoned(failing([0, 0, 0, 0, 0]), 120 * HOUR)).toBe(true);
    expect(isAbandoned(failing([0, 0, 0, 0]), 120 * HOUR)).toBe(false);
    expect(isAbandoned(CLOSED, 120 * HOUR)).toBe(false);
  });

  it('counts no time in which nothing was tried', () => {
    const late = 144 * HOUR;
    // A probe that comes late, and failures that lie far apart before the circuit opens.
    expect(failing([0, 0, 0, 0, 0, 5 * SECOND + late]).failing_since).toBe(late);
    expect(failing([0, 0, 0, 0, late]).failing_since).toBe(late - HOUR);
    const isTried = [0, 0, 0, 0, HOUR, HOUR + 5 * SECOND, HOUR + 35 * SECOND];
    expect(failing(isTried).failing_since).toBe(0);
  });
});
