import { pino } from 'pino';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { loopPause } from '../../src/worker/backoff.ts';
import { Worker } from '../../src/worker/worker.ts';

it('the pause of a loop doubles with each failure after the first, up to eight intervals', () => {
  expect([0, 1, 2, 3, 4, 5, 100].map(failures => loopPause(failures, 500))).toEqual([
    500, 500, 1000, 2000, 4000, 4000, 4000,
  ]);
});

it('a worker whose store is away asks it ever less often, and at its pace again when it is back', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'error' }, { write: line => lines.push(line) });
  const asked: number[] = [];
  const { promise: enough, resolve } = Promise.withResolvers<void>();
  const claim = async () => {
    asked.push(performance.now());
    if (asked.length === 9) resolve();
    if (asked.length > 6) return [];
    throw new Error('away at postgres://ana:secret@db');
  };
  const worker = new Worker({
    store: { claim, renew: async () => [], settle: async () => ({ held: [], next: [] }) },
    dispatch: () => ({ kind: 'sent' }),
    clock: systemClock,
    log,
    concurrency: 1,
    pollIntervalMs: 20,
    leaseMs: 1000,
    retryDelay: () => 1,
    explain: () => 'away',
  });
  worker.start();
  await enough;
  await worker.stop(0);
  const gaps = asked.slice(1).map((at, index) => at - (asked[index] as number));
  for (const [index, least] of [20, 40, 80, 160, 160, 160, 20, 20].entries()) {
    expect(gaps[index], `gap ${index}`).toBeGreaterThan(least - 3);
  }
  expect(gaps[7]).toBeLessThan(160);
  expect(lines).toHaveLength(6);
  expect(worker.health).toMatchObject({ consecutive_errors: 0, last_error: 'away' });
});
