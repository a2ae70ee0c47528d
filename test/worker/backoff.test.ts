import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffDelay } from '../../src/worker/backoff.ts';

describe('the backoff', () => {
  const backoff = { backoff_base_ms: 1000, backoff_cap_ms: 900_000 };

  it('doubles from its base, stays at its cap, and jitters over the upper half', () => {
    expect([1, 2, 3, 11, 12, 500].map(attempt => backoffDelay(backoff, attempt, () => 0))).toEqual([
      500, 1000, 2000, 450_000, 450_000, 450_000,
    ]);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, random) => {
          const ceiling = Math.min(900_000, 1000 * 2 ** (attempt - 1));
          const delay = backoffDelay(backoff, attempt, () => random);
          expect(delay).toBeGreaterThanOrEqual(ceiling / 2);
          expect(delay).toBeLessThanOrEqual(ceiling);
        },
      ),
    );
  });
});
