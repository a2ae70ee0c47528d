import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';

const evidence = (pieces: number) => Array.from({ length: pieces }, () => ({ kind: 'log', ref: 'x'.repeat(2000) }));

describe.each(engines)('what a key costs on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const send = (key: string, path: string, body: unknown) =>
    service.send('POST', path, body, { 'idempotency-key': key });
  /** The largest stored answer. Characters. */
  const largest = async () => {
    const rows = (await dump(service.url)).idempotency_keys?.map(row => row.length) ?? [];
    return Math.max(...rows);
  };

  it('does not depend on what else the thread holds', async () => {
    await send('c', '/control-signals', signal('completion', { evidence: evidence(50), summary: 's'.repeat(9000) }));
    await send('v', '/control-signals', signal('validation', { evidence: evidence(50) }));
    for (let n = 0; n < 5; n += 1) await send(`q${n}`, '/control-signals', signal('guidance_request'));
    expect(await largest()).toBeLessThan(20_000);
  });

  it('is a reference for a large answer, and the repeat shows the same effect beside the current state', async () => {
    const body = signal('guidance_request', { run_id: 'large', context: 'c'.repeat(60_000) });
    const first = await send('large', '/control-signals', body);
    expect(first.status).toBe(201);
    expect(await largest()).toBeLessThan(20_000);
    const { question_id } = first.body.question;
    await service.send('PUT', `/questions/${question_id}/answer`, { answer: 'Europe.' });
    const again = await send('large', '/control-signals', body);
    expect(again).toMatchObject({ status: 201, headers: { 'idempotency-replayed': 'true' } });
    expect(again.headers.location).toBe(first.headers.location);
    expect(again.body.signal).toEqual(first.body.signal);
    expect(again.body.question).toMatchObject({ question_id, state: 'answered', context: body.context });
  });

  it.each([
    [
      'a post',
      async () => {
        const { body } = await service.send('POST', '/threads', {
          title: 'T',
          body: 'B',
          actor: { type: 'operator', name: 'ana' },
        });
        const post = { body: 'p'.repeat(60_000), actor: { type: 'operator', name: 'ana' } };
        return [`/threads/${body.thread_id}/posts`, post] as const;
      },
    ],
    ['a message', async () => ['/outbox', { topic: 'a.b', payload: { text: 'm'.repeat(60_000) } }] as const],
    [
      'a cancelled question',
      async () => {
        const { body } = await service.send(
          'POST',
          '/control-signals',
          signal('guidance_request', { context: 'c'.repeat(60_000) }),
        );
        return [`/questions/${body.question.question_id}/cancel`, {}] as const;
      },
    ],
  ])('is a reference for %s', async (name, prepare) => {
    const [path, body] = await prepare();
    const first = await send(name.replaceAll(' ', '-'), path, body);
    const again = await send(name.replaceAll(' ', '-'), path, body);
    expect(again).toMatchObject({ status: first.status, headers: { 'idempotency-replayed': 'true' } });
    expect(again.body).toEqual(first.body);
    expect(again.headers.etag).toEqual(first.headers.etag);
    expect(await largest()).toBeLessThan(20_000);
  });
});
