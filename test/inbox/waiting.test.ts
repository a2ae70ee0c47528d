import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';
import { ownRun, SOON_MS, settled, timed } from '../helpers/waits.ts';

const operator = { type: 'operator', name: 'ana' };

describe.each(engines)('waiting for an inbox on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const ask = async (run_id: string) =>
    (await service.send('POST', '/control-signals', signal('guidance_request', { run_id }))).body;
  const url = (run_id: string) => `/control-threads/${run_id}/builder/inbox`;
  const wait = (run_id: string, seconds = 40) => timed(service.send('GET', `${url(run_id)}?wait=${seconds}`));
  const claim = (run_id: string, lease_seconds: number) =>
    service.send('POST', `${url(run_id)}/claim`, { claimant: 'a', lease_seconds });
  const say = (thread_id: string, body: string) =>
    service.send('POST', `/threads/${thread_id}/posts`, { body, actor: operator });

  it('ends with an answer and with a message, for all that wait', async () => {
    const run_id = ownRun();
    const { question, thread } = await ask(run_id);
    const waits = [wait(run_id), wait(run_id)];
    await settled(service.send);
    await service.send('PUT', `/questions/${question.question_id}/answer`, { answer: 'x' });
    for (const { body, took } of await Promise.all(waits)) {
      expect(took).toBeLessThan(SOON_MS);
      expect(body.items).toMatchObject([{ kind: 'answered', question: { answer: 'x' } }]);
    }
    await claim(run_id, 3600);
    const next = wait(run_id);
    await settled(service.send);
    await say(thread.thread_id, 'Stop.');
    const { body, took } = await next;
    expect(took).toBeLessThan(SOON_MS);
    // The list shows also what somebody holds.
    expect(body.items).toMatchObject([{ kind: 'answered' }, { kind: 'message', post: { body: 'Stop.' } }]);
  });

  it('ends at once if an item is free, and at its time if all are held', async () => {
    const run_id = ownRun();
    const { thread } = await ask(run_id);
    await say(thread.thread_id, 'Stop.');
    expect((await wait(run_id)).took).toBeLessThan(SOON_MS);
    await claim(run_id, 3600);
    const { body, took } = await wait(run_id, 1);
    expect(took).toBeGreaterThanOrEqual(990);
    expect(body.items).toHaveLength(1);
    expect((await wait('nobody', 1)).body).toEqual({ items: [], next_cursor: null });
  });

  it('ends when a lease runs out, also one that was made or renewed during the wait', async () => {
    const run_id = ownRun();
    const { thread } = await ask(run_id);
    await say(thread.thread_id, 'Stop.');
    await claim(run_id, 3600);
    const waiting = wait(run_id);
    await settled(service.send);
    await claim(run_id, 1);
    // A claim is no event; that of something else makes the wait look again.
    await say(thread.thread_id, 'Now.');
    const first = await waiting;
    expect(first.took).toBeLessThan(SOON_MS);
    await claim(run_id, 1);
    const { body, took } = await wait(run_id);
    expect(took).toBeLessThan(SOON_MS);
    expect(body.items.map((item: { claimed_until: unknown }) => item.claimed_until)).toContain(null);
  });

  it('counts as a waiter while it lasts', async () => {
    const run_id = ownRun();
    const { thread } = await ask(run_id);
    const waiting = wait(run_id);
    const waiters = async () =>
      /forumbus_waiters\{resource="inbox"\} (\d+)/.exec((await service.send('GET', '/metrics')).body)?.[1];
    await expect.poll(waiters).toBe('1');
    await say(thread.thread_id, 'Stop.');
    await waiting;
    expect(await waiters()).toBe('0');
  });
});
