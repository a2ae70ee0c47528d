import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { eventStream } from '../../src/events/stream.ts';
import { createServices } from '../../src/services.ts';
import { startApp } from '../helpers/app.ts';
import { scratchDatabase } from '../helpers/engines.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal, textOfSize } from '../helpers/signals.ts';

it('a stream that has ended hands out nothing of what it had read before', async () => {
  const database = await forThisTest(scratchDatabase('sqlite'));
  const service = await startApp('sqlite', { database });
  // Each of them is more than is handed out at once.
  for (let count = 0; count < 3; count += 1) {
    expect((await service.send('POST', '/control-signals', signal('completion', textOfSize(100_000)))).status).toBe(
      201,
    );
  }
  await service.close();

  const config = readConfig({ DATABASE_URL: database.url });
  const services = await createServices(config, pino({ level: 'silent' }));
  onTestFinished(() => services.close());
  const end = new AbortController();
  const { waits, forum, metrics } = services;
  // What a socket does whose reader is slow: it asks for one piece, and for the next one much later.
  const frames = eventStream({
    ...waits,
    ...forum,
    readers: metrics.streams,
    filter: {},
    after: 1,
    signal: end.signal,
  });
  expect((await frames.next()).value).toMatch(/^retry/);
  expect((await frames.next()).value).toMatch(/^id: 2\n/);
  end.abort();
  expect(await frames.next()).toEqual({ value: undefined, done: true });
});
