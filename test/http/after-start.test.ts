import { fastify } from 'fastify';
import { afterEach, expect, it, onTestFinished, vi } from 'vitest';
import { afterStart } from '../../src/http/after-start.ts';

const AFTER_MS = 10_000;

afterEach(() => vi.useRealTimers());

it('does a work once, some time after the start', async () => {
  const work = vi.fn();
  await listening(work);
  vi.advanceTimersByTime(AFTER_MS - 1);
  expect(work).not.toHaveBeenCalled();
  vi.advanceTimersByTime(AFTER_MS);
  expect(work).toHaveBeenCalledTimes(1);
});

it('does no work after the end', async () => {
  const work = vi.fn();
  const app = await listening(work);
  await app.close();
  vi.advanceTimersByTime(2 * AFTER_MS);
  expect(work).not.toHaveBeenCalled();
});

it.each([
  [
    'throws',
    () => {
      throw new Error('no such file');
    },
  ],
  ['rejects', () => Promise.reject(new Error('no such file'))],
])('logs a work that %s, and goes on', async (_how, work) => {
  const logged = Promise.withResolvers<string>();
  await listening(work, line => logged.resolve(line));
  vi.advanceTimersByTime(AFTER_MS);
  expect(JSON.parse(await logged.promise)).toMatchObject({ level: 50, err: { message: 'no such file' } });
});

async function listening(work: () => unknown, write: (line: string) => void = () => {}) {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const app = fastify({ logger: { level: 'error', stream: { write } } });
  onTestFinished(() => app.close());
  afterStart(app, work);
  await app.listen({ port: 0, host: '127.0.0.1' });
  return app;
}
