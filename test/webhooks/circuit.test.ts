import { describe, expect, it } from 'vitest';
import {
  afterFailure,
  type Circuit,
  CLOSED,
  isLost,
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
      circuit = afterFailure(circuit, 1000);
      probes.push(circuit.probe_at);
    }
    expect(probes).toEqual([null, null, null, null, 6000, 31_000, 121_000, 601_000]);
    expect(circuit).toMatchObject({ failures: 8, failing_since: 1000 });
  });

  it('gives a webhook up after five days of failures only', () => {
    const circuit = afterFailure(afterFailure(CLOSED, 0), 119 * HOUR);
    expect(isLost(circuit, 119 * HOUR)).toBe(false);
    expect(isLost(circuit, 120 * HOUR)).toBe(true);
    expect(isLost(CLOSED, 120 * HOUR)).toBe(false);
  });
});
