import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { handlersFolder, listenForCalls, obedient } from '../helpers/handlers.ts';
import { expectProblem } from '../helpers/problems.ts';
import { forThisTest, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';

/** So rarely that whatever comes sooner came by a notification. */
const POLL_INTERVAL_MS = '60000';
/** Well below it, and enough for a busy machine. */
const AT_ONCE_MS = 5000;

describe('a process that serves HTTP and one that works, on one PostgreSQL', () => {
  let database: Scratch;
  let DATABASE_URL: string;
  beforeEach(async () => {
    database = await forThisTest(scratchDatabase('postgres'));
    DATABASE_URL = database.url;
  });

  /** The first of them: the process of the tests themselves. */
  const http = async (poll = POLL_INTERVAL_MS): Promise<TestApp> => {
    const serving = await startApp('postgres', {
      database,
      config: { POLL_INTERVAL_MS: poll, ROLE: 'http', MIN_DEFAULT_SECONDS: '1' },
    });
    onTestFinished(serving.close);
    return serving;
  };

  it('dispatch at once, in the second, what is posted to the first', async () => {
    const calls = await listenForCalls();
    const HANDLERS_DIR = await handlersFolder({
      'x.ts': obedient('forum.integration.x'),
      'signals.ts': obedient('forum.events.control.signal'),
    });
    const serving = await http();
    const outbox = { topic: 'forum.integration.x', payload: {} };
    const waiting = (await serving.send('POST', '/outbox', outbox)).body;
    await startService({ DATABASE_URL, POLL_INTERVAL_MS, HANDLERS_DIR, CALLS_URL: calls.url, ROLE: 'worker' });
    // What was there before the worker is found by it when it starts.
    const first = await calls.next();
    expect(first.body.message.message_id).toBe(waiting.message_id);
    first.answer('return');

    for (let round = 0; round < 5; round++) {
      const started = performance.now();
      const { message_id } = (await serving.send('POST', '/outbox', outbox)).body;
      const published = await calls.next();
      expect(published.body.message.message_id).toBe(message_id);
      published.answer('return');
      const { signal_id } = (await serving.send('POST', '/control-signals', signal('completion'))).body.signal;
      const signalled = await calls.next();
      expect(signalled.body.message.payload.payload.signal_id).toBe(signal_id);
      signalled.answer('return');
      expect(performance.now() - started).toBeLessThan(AT_ONCE_MS);
    }
    await expect
      .poll(async () => (await serving.send('GET', '/outbox/stats')).body.by_status)
      .toMatchObject({ pending: 0, processing: 0, failed: 0, dead: 0 });
  });

  it('expire questions in the second, and whoever waits at the first is told at once', async () => {
    const serving = await http();
    await startService({ DATABASE_URL, POLL_INTERVAL_MS: '100', ROLE: 'worker' });
    const body = signal('guidance_request', { expires_in_seconds: 2, default_answer: 'Europe.' });
    const { question } = (await serving.send('POST', '/control-signals', body)).body;
    const started = performance.now();
    const answer = await serving.send('GET', `/questions/${question.question_id}?wait=50`);
    expect(answer).toMatchObject({ status: 200, body: { state: 'expired', default_applied: true, version: 2 } });
    expect(performance.now() - started).toBeLessThan(2000 + AT_ONCE_MS);
  });

  it('expire nothing while there is no worker', async () => {
    const serving = await http('50');
    const body = signal('guidance_request', { expires_in_seconds: 1 });
    const { question } = (await serving.send('POST', '/control-signals', body)).body;
    const answer = await serving.send('GET', `/questions/${question.question_id}?wait=3`);
    expect(answer.body).toMatchObject({ state: 'open', version: 1 });
  });

  it('answer for their health alike, and the second for nothing else', async () => {
    const [serving, working] = [await http(), await startService({ DATABASE_URL, ROLE: 'worker' })];
    for (const [service, running] of [
      [serving, false],
      [working, true],
    ] as const) {
      expect((await service.send('GET', '/livez')).status).toBe(200);
      expect((await service.send('GET', '/readyz')).status).toBe(200);
      expect(await service.send('GET', '/bus/health')).toMatchObject({
        status: 200,
        body: { status: 'ok', reasons: [], worker: { running } },
      });
    }
    for (const path of ['/events', '/events/stream', '/questions', '/threads', '/runs', '/outbox', '/bus/topics']) {
      expectProblem(await working.send('GET', path), 'NOT_FOUND');
    }
    for (const path of ['/control-signals', '/outbox', '/bus/process']) {
      expectProblem(await working.send('POST', path, {}), 'NOT_FOUND');
    }
  });
});
