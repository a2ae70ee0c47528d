import { describe, expect, it } from 'vitest';
import type { TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { type Received, startReceiver } from '../helpers/receiver.ts';
import { accepted, ask, createWebhook, startSending } from '../helpers/webhooks.ts';

const secretOf = (byte: number, length = 32) => `whsec_${Buffer.alloc(length, byte).toString('base64')}`;

describe.each(engines)('the bytes of a webhook on %s', engine => {
  /** A webhook whose service has the time of the receiver: both libraries refuse what is older than five minutes. */
  async function start(fields: object = {}) {
    const clock = new ManualClock(Date.now());
    const service = await startSending(engine, { clock });
    const receiver = await startReceiver();
    const { secret } = await createWebhook(service, receiver.url, fields);
    let asked = 0;
    const next = async (): Promise<Received> => {
      const question = `Question ${++asked}, größer als 8 €?`;
      await ask(service, { question });
      return receiver.having(question);
    };
    return { clock, service, receiver, next, secret: secret as string };
  }

  const rotate = async (service: TestApp, body: object) => {
    const answer = await service.send('POST', '/webhooks/chat/rotate-secret', body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    return answer.body;
  };

  it('verify before, during and after a rotation, to the millisecond', async () => {
    const { clock, service, next, secret: old } = await start();
    const before = await next();
    const { secret: fresh, secrets } = await rotate(service, { grace_seconds: 60 });
    expect(secrets).toEqual([{ expires_at: null }, { expires_at: new Date(clock.now() + 60_000).toISOString() }]);
    const first = await next();
    clock.advance(59_999);
    const last = await next();
    clock.advance(1);
    const after = await next();
    const verdicts = async (one: Received) => [await accepted(one, old), await accepted(one, fresh)];
    expect(await verdicts(before)).toEqual([true, false]);
    expect(await verdicts(first)).toEqual([true, true]);
    expect(await verdicts(last)).toEqual([true, true]);
    expect(await verdicts(after)).toEqual([false, true]);
    expect(await accepted(last, secretOf(9))).toBe(false);
    const changed = { ...last, body: last.body.replace('größer', 'kleiner') };
    expect(await verdicts(changed)).toEqual([false, false]);
  });

  it('verify with secrets of the caller, the shortest and the longest', async () => {
    const { service, next } = await start({ secret: secretOf(1, 24) });
    expect(await accepted(await next(), secretOf(1, 24))).toBe(true);
    const { secret } = await rotate(service, { secret: secretOf(2, 64), grace_seconds: 0 });
    expect(secret).toBe(secretOf(2, 64));
    const after = await next();
    expect([await accepted(after, secretOf(1, 24)), await accepted(after, secretOf(2, 64))]).toEqual([false, true]);
  });

  it('carry ten secrets at most: the oldest end earlier', async () => {
    const { service, next } = await start({ secret: secretOf(1) });
    for (let byte = 2; byte <= 12; byte += 1) await rotate(service, { secret: secretOf(byte) });
    expect((await service.send('GET', '/webhooks/chat')).body.secrets).toHaveLength(10);
    const one = await next();
    const signs = async (byte: number) => accepted(one, secretOf(byte));
    expect([await signs(1), await signs(2), await signs(3), await signs(12)]).toEqual([false, false, true, true]);
  });

  it('carry all secrets of rotations that overlap, and each ends when it was to', async () => {
    const { clock, service, next } = await start({
      secret: secretOf(1),
      secret_expires_at: new Date(Date.now() + 20_000).toISOString(),
    });
    await rotate(service, { secret: secretOf(2), grace_seconds: 3600 });
    await rotate(service, { secret: secretOf(3), grace_seconds: 40 });
    const signers = async () => {
      const one = await next();
      const verdicts = await Promise.all(
        [1, 2, 3].map(async byte => ((await accepted(one, secretOf(byte))) ? byte : 0)),
      );
      return verdicts.filter(byte => byte > 0);
    };
    expect(await signers()).toEqual([1, 2, 3]);
    // The first has its own end, before that of its grace.
    clock.advance(21_000);
    expect(await signers()).toEqual([2, 3]);
    clock.advance(19_000);
    expect(await signers()).toEqual([3]);
  });

  it('are not sent once the last secret has expired: the webhook is disabled, and says why', async () => {
    const start_at = Date.now();
    const { clock, service, receiver, next } = await start({
      secret: secretOf(1),
      secret_expires_at: new Date(start_at + 60_000).toISOString(),
    });
    const [expiry] = (await service.send('GET', '/webhooks/chat')).body.secrets;
    clock.time = Date.parse(expiry.expires_at) - 1;
    expect(await accepted(await next(), secretOf(1))).toBe(true);
    clock.advance(1);
    const other = await startReceiver();
    await createWebhook(service, other.url, { name: 'other', event_types: ['forum.webhook.*'] });
    const ping = await service.send('POST', '/webhooks/chat/ping');
    expect(ping.body).toMatchObject({ ok: false, status: null, error: expect.stringContaining('expired') });
    await ask(service, { question: 'Unsigned?' });
    const told = await other.having('forum.webhook.disabled');
    expect(JSON.parse(told.body).data.payload).toEqual({ name: 'chat', reason: 'secret_expired' });
    expect((await service.send('GET', '/webhooks/chat')).body).toMatchObject({
      enabled: false,
      disabled_reason: 'secret_expired',
    });
    expect(receiver.received.filter(({ body }) => body.includes('Unsigned?'))).toEqual([]);
    await rotate(service, { secret: secretOf(2) });
    expect((await service.send('PATCH', '/webhooks/chat', { enabled: true })).status).toBe(200);
    expect(await accepted(await next(), secretOf(2))).toBe(true);
  });
});
