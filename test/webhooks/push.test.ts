import { describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { startPushService } from '../helpers/push-service.ts';
import { toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';

const soon = { timeout: 120_000, interval: 20 };
type Subscription = Awaited<ReturnType<typeof startPushService>>['subscription'];

const create = (service: TestApp, { endpoint, keys }: Subscription, settings: object = keys) =>
  service.send('POST', '/webhooks', {
    ...{ name: 'browser', format: 'webpush', url: endpoint, settings, event_types: ['forum.question.opened'] },
  });
const ask = async (service: TestApp, fields: object) => {
  const { status, body } = await service.send('POST', '/control-signals', signal('guidance_request', fields));
  expect(status, JSON.stringify(body)).toBe(201);
  return body.question.question_id as string;
};

describe.each(engines)('push messages on %s', engine => {
  async function start() {
    const service = await startApp(engine, { config: toLoopback });
    onTestFinished(() => service.close());
    return service;
  }

  it('reach one browser, which alone can read them, and name their sender', async () => {
    const service = await start();
    const { subscription, messages } = await startPushService();
    expect((await create(service, subscription)).status).toBe(201);
    const first = await ask(service, { agent_name: 'tester', run_id: 'shop', question: 'Which\u202E region?' });
    await expect.poll(() => messages.length, soon).toBe(1);
    const { body: key } = await service.send('GET', '/push-key');
    const origin = new URL(subscription.endpoint).origin;
    expect(messages[0]).toEqual({
      path: '/push/1',
      ...{ ttl: '86400', urgency: 'normal', topic: expect.stringMatching(/^[\w-]{32}$/) },
      sender: { key: key.public_key, aud: origin, exp: expect.any(Number), sub: 'mailto:forumbus@example.com' },
      message: {
        title: 'tester in shop asks',
        body: expect.stringMatching(/^Which\S* region\?$/),
        tag: first,
        hash: `#/q/${first}`,
      },
    });
    expect(messages[0]?.message.body).not.toContain('\u202E');
    const { exp = 0 } = messages[0]?.sender ?? {};
    expect(exp - Date.now() / 1000).toBeLessThanOrEqual(86_400);

    // The longest question that there can be, of the largest characters.
    await ask(service, { agent_name: 'other', priority: 'urgent', question: '漢'.repeat(16_384) });
    await expect.poll(() => messages.length, soon).toBe(2);
    expect(messages[1]).toMatchObject({ urgency: 'high', message: { body: expect.stringMatching(/^漢{100,}…$/) } });
    // The keys stay over a restart: browsers are bound to them.
    await service.restart();
    expect((await service.send('GET', '/push-key')).body).toEqual(key);
    expect((await service.send('POST', '/webhooks/browser/ping', {})).body).toMatchObject({ ok: true, status: 201 });
    await expect.poll(() => messages.length, soon).toBe(3);
    expect(messages[2]?.message).toMatchObject({ title: 'A test of the webhook browser', hash: '#/' });
  });

  it.each([404, 410])('end with the subscription of the browser (%s)', async status => {
    const service = await start();
    const { subscription, answer } = await startPushService();
    await create(service, subscription);
    await answer(status);
    await ask(service, { run_id: 'gone' });
    await expect.poll(async () => (await service.send('GET', '/webhooks')).body.items, soon).toEqual([]);
    expectProblem(await service.send('GET', '/webhooks/browser'), 'WEBHOOK_NOT_FOUND');
  });

  it('need the keys of a browser, and show them to nobody', async () => {
    const service = await start();
    const { subscription } = await startPushService();
    const { p256dh, auth } = subscription.keys;
    for (const settings of [{}, { p256dh }, { auth }, { p256dh: `B${'A'.repeat(86)}`, auth }, { p256dh: 'B', auth }]) {
      expectProblem(await create(service, subscription, settings), 'VALIDATION_FAILED');
    }
    await create(service, subscription);
    const text = JSON.stringify((await service.send('GET', '/webhooks/browser')).body);
    for (const secret of [p256dh, auth, '/push/1']) expect(text).not.toContain(secret);
  });
});
