import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';

const wanted = { name: 'chat', url: 'https://hooks.example/chat', event_types: ['forum.question.*'] };
const own = `whsec_${Buffer.alloc(24, 1).toString('base64')}`;

describe.each(engines)('webhooks on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine, { overrides: { clock } });
  });
  afterAll(() => service.close());

  const create = (fields: object = {}) => service.send('POST', '/webhooks', { ...wanted, ...fields });
  const code = ({ status, body }: { status: number; body: { code: string } }) => [status, body.code];

  it('show their secret once, and keep to their name', async () => {
    const created = await create();
    expect(created).toMatchObject({
      status: 201,
      headers: { location: '/webhooks/chat', 'cache-control': 'no-store' },
    });
    expect(created.body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const { secret: _, ...shown } = created.body;
    expect((await service.send('GET', '/webhooks/chat')).body).toEqual(shown);
    expect((await service.send('GET', '/webhooks')).body.items).toEqual([shown]);
    expect(code(await create())).toEqual([409, 'WEBHOOK_EXISTS']);
    expect(code(await service.send('GET', '/webhooks/other'))).toEqual([404, 'WEBHOOK_NOT_FOUND']);
  });

  it.each([
    [{ url: 'nowhere' }, '/url'],
    [{ url: 'http://hooks.example/' }, '/url'],
    [{ url: 'https://10.0.0.1/' }, '/url'],
    [{ url: 'https://hooks.example/\0' }, '/url'],
    [{ url: 'https://hooks.example/\ud800' }, '/url'],
    [{ event_types: ['forum.nothing'] }, '/event_types'],
    [{ event_types: ['forum.question.opened', 'forum.quest*'] }, '/event_types/1'],
    [{ answer_links: true }, '/answer_links'],
    [{ url: undefined }, '/url'],
    [{ format: 'ntfy' }, '/settings'],
    [{ format: 'telegram', settings: { chat_id: '-1001' } }, '/settings'],
    [{ format: 'telegram', settings: { chat_id: 'x y', bot_token: '42:x' } }, '/settings/chat_id'],
    [{ format: 'telegram', settings: { chat_id: '1', bot_token: '42:x/../y' } }, '/settings/bot_token'],
    [{ format: 'slack', settings: { channel: 'C01' } }, '/settings'],
    [{ format: 'slack', url: undefined }, '/url'],
    [{ format: 'teams', settings: { token: 'x' } }, '/settings/token'],
    [{ format: 'email', settings: { from: 'a@b.example', to: 'a@b.example' } }, '/url'],
    [
      { format: 'email', url: 'smtps://mail.example/', settings: { from: 'a\0@b.example', to: 'a@b.example' } },
      '/settings/from',
    ],
    [{ secret: 'whsec_short' }, '/secret'],
    [{ secret: own.slice(6) }, '/secret'],
    [{ secret_expires_at: '2020-01-01T00:00:00.000Z' }, '/secret_expires_at'],
    [{ secret_expires_at: '9999-12-31T23:59:59-23:59' }, '/secret_expires_at'],
  ])('refuse %j', async (fields, pointer) => {
    const answer = await create({ name: 'refused', ...fields });
    expect(code(answer)).toEqual([400, 'VALIDATION_FAILED']);
    expect(answer.body.errors).toEqual([expect.objectContaining({ in: 'body', pointer })]);
  });

  it('take no leap second, which has no place on the clock', async () => {
    const leap = '2030-12-31T23:59:60Z';
    await create({ name: 'leap' });
    const since = '2020-01-01T00:00:00Z';
    const bodies: [string, object, string][] = [
      [
        '',
        { name: 'other', url: 'https://hooks.example/', event_types: ['*'], secret_expires_at: leap },
        'secret_expires_at',
      ],
      ['/leap/rotate-secret', { secret_expires_at: leap }, 'secret_expires_at'],
      ['/leap/replay', { since: leap }, 'since'],
      ['/leap/replay', { since, until: leap }, 'until'],
      ['/leap/replay', { missing_since: leap }, 'missing_since'],
    ];
    for (const [path, body, name] of bodies) {
      const answer = await service.send('POST', `/webhooks${path}`, body);
      expect(answer.status, `${path} ${name}`).toBe(400);
      expect(answer.body.errors).toEqual([expect.objectContaining({ pointer: `/${name}`, code: 'INVALID_FORMAT' })]);
    }
  });

  it('have the address of their channel if none is given', async () => {
    const telegram = { format: 'telegram', settings: { chat_id: '1', bot_token: '42:x' } };
    const slack = { format: 'slack', settings: { app_token: 'xapp-1', bot_token: 'xoxb-1', channel: 'C01' } };
    const urls = [telegram, slack, { format: 'ntfy', settings: { topic: 'alerts' } }].map(async fields => {
      const { body } = await create({ name: fields.format, url: undefined, enabled: false, ...fields });
      expect(JSON.stringify(body)).not.toMatch(/42:x|xapp|xoxb|alerts/);
      return body.url;
    });
    const hosts = ['api.telegram.org', 'slack.com', 'ntfy.sh'];
    expect(await Promise.all(urls)).toEqual(hosts.map(host => `https://${host}/…`));
  });

  it('change under a precondition, and begin anew with another URL', async () => {
    await create({ name: 'changing' });
    const path = '/webhooks/changing';
    const { headers, body } = await service.send('GET', path);
    const again = () => service.send('GET', path, undefined, { 'if-none-match': String(headers.etag) });
    expect((await again()).status).toBe(304);
    clock.advance(1000);
    const changed = await service.send('PATCH', path, { description: 'Mine' }, { 'if-match': String(headers.etag) });
    expect(changed.body).toEqual({
      ...body,
      description: 'Mine',
      version: 2,
      updated_at: new Date(clock.now()).toISOString(),
    });
    expect((await again()).status).toBe(200);
    const late = await service.send('PATCH', path, { enabled: false }, { 'if-match': String(headers.etag) });
    expect(code(late)).toEqual([412, 'PRECONDITION_FAILED']);
    expect(code(await service.send('PATCH', path, { url: 'http://hooks.example/' }))).toEqual([
      400,
      'VALIDATION_FAILED',
    ]);
  });

  it('take no replay while they are disabled, nor two kinds of it at once', async () => {
    await create({ name: 'replayed', enabled: false });
    const replay = (body: object) => service.send('POST', '/webhooks/replayed/replay', body);
    const since = '2026-11-22T00:00:00.000Z';
    expect(code(await replay({ since }))).toEqual([409, 'WEBHOOK_DISABLED']);
    await service.send('PATCH', '/webhooks/replayed', { enabled: true });
    const backwards = { since, until: '2026-11-21T23:59:59.999Z' };
    for (const body of [{}, { since, missing_since: since }, { until: since }, { since, until: since }, backwards]) {
      expect(code(await replay(body)), JSON.stringify(body)).toEqual([400, 'VALIDATION_FAILED']);
    }
    expect(code(await replay({ delivery_id: 'dlv_77' }))).toEqual([404, 'DELIVERY_NOT_FOUND']);
  });

  it('are gone once they are deleted, with their subscription, and their name is free again', async () => {
    await create({ name: 'gone' });
    expect(code(await service.send('DELETE', '/bus/subscriptions/webhook:gone'))).toEqual([409, 'SUBSCRIPTION_SERVED']);
    expect((await service.send('DELETE', '/webhooks/gone')).body).toEqual({ name: 'gone', deleted: true });
    expect(code(await service.send('DELETE', '/webhooks/gone'))).toEqual([404, 'WEBHOOK_NOT_FOUND']);
    const names = (await service.send('GET', '/bus/subscriptions')).body.items.map(
      ({ name }: { name: string }) => name,
    );
    expect(names).not.toContain('webhook:gone');
    expect((await create({ name: 'gone' })).status).toBe(201);
  });

  it('accept no idempotency key where they show a secret', async () => {
    const key = { 'idempotency-key': 'k' };
    expect(code(await service.send('POST', '/webhooks', { ...wanted, name: 'keyed' }, key))).toEqual([
      400,
      'VALIDATION_FAILED',
    ]);
    expect(code(await service.send('POST', '/webhooks/chat/rotate-secret', {}, key))).toEqual([
      400,
      'VALIDATION_FAILED',
    ]);
  });
});
