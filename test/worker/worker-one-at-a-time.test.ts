import { setImmediate as nextTurn } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { createServices } from '../../src/services.ts';
import { startApp } from '../helpers/app.ts';
import { scratchDatabase } from '../helpers/engines.ts';
import { Counter, gate, handler } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';

const CONCURRENCY = 4;
const REST = 4;

it('messages that two crashes have left run one at a time, those of the first as well as those of the second', async () => {
  const database = await forThisTest(scratchDatabase('sqlite'));
  const publisher = await startApp('sqlite', { database });
  for (let n = 0; n < 4 + REST; n += 1) await publisher.send('POST', '/outbox', { topic: 'a', payload: n });
  await publisher.close();

  const begun = new Counter<() => void>();
  const held = handler('a', () => {
    const { open, passed } = gate();
    begun.add(open);
    return passed;
  });
  const config = readConfig({ DATABASE_URL: database.url, WORKER_CONCURRENCY: String(CONCURRENCY) });
  const services = await createServices(config, pino({ level: 'silent' }), { handlers: [held] });
  onTestFinished(() => services.close());
  const { worker } = services.delivery;
  worker.runOneAtATime(3);
  worker.runOneAtATime(1);
  await services.start();
  for (let n = 1; n <= 4; n += 1) {
    await begun.reach(n);
    for (let turn = 0; turn < 20; turn += 1) await nextTurn();
    expect(begun.seen).toHaveLength(n);
    begun.seen[n - 1]?.();
  }
  // What no crash has left runs side by side.
  await begun.reach(4 + CONCURRENCY);
  for (const open of begun.seen) open();
});
