import { onTestFinished, vi } from 'vitest';

/**
 * Until the test ends, each look at the monotonic clock of this process finds that so many milliseconds more have passed:
 * what works for a limited time does as little on a fast machine as on a slow one.
 */
export function lateBy(ms: number): void {
  const now = performance.now.bind(performance);
  let late = 0;
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => {
    late += ms;
    return now() + late;
  });
  onTestFinished(() => spy.mockRestore());
}
