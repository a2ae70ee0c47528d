import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { handler } from '../helpers/handling.ts';
import { LOOK_MS, scrapeOf } from '../helpers/scrape.ts';
import { signal } from '../helpers/signals.ts';

const MANY = 1000;
const METHODS = ['PROPFIND', 'MKCOL', 'PURGE', 'LOCK', 'SEARCH', 'COPY'] as const;

/** Names as the wildest caller would choose them. */
const nameOf = (kind: string, n: number): string => `${kind}-${n} "ü"\\ {le="1"}`;

describe('what callers invent', () => {
  const clock = new ManualClock();
  let service: TestApp;
  beforeAll(async () => {
    const handlers = [handler('mine.**', () => {})];
    service = await startApp('sqlite', { overrides: { clock, handlers } });
    await callers(0);
  });
  afterAll(() => service.close());

  /** One of each: a run, an agent, a thread, a key, an actor, topics, URLs, methods. */
  async function callers(n: number): Promise<void> {
    const actor = { type: 'human', name: nameOf('actor', n) };
    const run_id = nameOf('run', n);
    const { status } = await service.send(
      'POST',
      '/control-signals',
      signal('completion', { run_id, agent_name: nameOf('agent', n), ticket: nameOf('ticket', n), actor }),
      { 'idempotency-key': `key-${n}`, 'x-request-id': `request-${n}`, 'user-agent': `agent/${n}` },
    );
    expect(status).toBe(201);
    for (const topic of [`invented-${n}.x`, `mine.invented-${n}`]) {
      await service.send('POST', '/outbox', {
        topic,
        payload: n,
        message_id: `${topic}-${n}`,
        message_key: run_id + topic,
      });
    }
    await service.send('POST', '/outbox', { topic: `forum.events.invented-${n}`, payload: n });
    await service.send('POST', `/bus/topics/paused-${n}/pause`);
    for (const path of [`/runs/r-${n}`, `/invented/${n}`, `/%zz${n}`]) {
      await service.send('GET', path);
    }
    await service.app.inject({ method: METHODS[n % METHODS.length] as 'PROPFIND', url: `/invented/${n}` });
  }

  it(`adds no series, ${MANY} times over`, async () => {
    const dispatch = async () => {
      while ((await service.send('POST', '/bus/process', { limit: 1000 })).body.claimed > 0);
      clock.advance(LOOK_MS);
      return scrapeOf(service);
    };
    await dispatch();
    const before = await dispatch();
    for (let n = 1; n <= MANY; n += 100) await Promise.all(Array.from({ length: 100 }, (_, at) => callers(n + at)));
    const after = await dispatch();
    expect(after.value('forumbus_signals_total')).toBeGreaterThanOrEqual(MANY);
    expect(after.value('forumbus_outbox_messages', { topic: 'other', status: 'failed' })).toBeGreaterThan(MANY);
    expect(after.value('forumbus_attempts_total', { topic: 'mine.**' })).toBeGreaterThanOrEqual(MANY);
    expect(after.value('forumbus_outbox_paused_topics')).toBeGreaterThanOrEqual(MANY);
    expect(after.series.filter(series => !before.series.includes(series))).toEqual([]);
    expect(JSON.stringify(after.samples)).not.toContain('invented');
  });
});
