import { describe, expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { Counter, handler } from '../helpers/handling.ts';

const MESSAGES = 5;
/** The next poll would come after the test has failed. */
const POLL = { POLL_INTERVAL_MS: '60000' };

describe.each(engines)('without a poll, on %s,', engine => {
  it.each([
    ['the next of a lane is claimed when its predecessor has been handled', 16, 'lane'],
    ['what there was no room for is claimed when a handler has ended', 1, undefined],
  ])('%s', { timeout: 30_000 }, async (_name, concurrency, message_key) => {
    const handled = new Counter<unknown>();
    const handlers = [handler('a.b', async ({ payload }) => handled.add(payload))];
    const config = { ROLE: 'all', WORKER_CONCURRENCY: String(concurrency), ...POLL };
    const service = await startApp(engine, { config, overrides: { handlers } });
    onTestFinished(service.close);
    const all = Array.from({ length: MESSAGES }, (_, n) => n);
    const messages = all.map(payload => ({ topic: 'a.b', payload: { payload }, ...(message_key && { message_key }) }));
    await Promise.all(messages.map(message => service.send('POST', '/outbox', message)));
    expect(await handled.reach(MESSAGES)).toHaveLength(MESSAGES);
  });
});
