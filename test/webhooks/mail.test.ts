import type { LookupFunction } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createAddressGuard } from '../../src/webhooks/addresses.ts';
import { createSendMail } from '../../src/webhooks/mail.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { type Double, startDouble } from '../helpers/channels.ts';
import { toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';

const soon = { timeout: 120_000, interval: 50 };
const settings = { from: 'forumbus@forum.example', to: 'ana@forum.example,ben@forum.example' };

interface SeenMail {
  from: string;
  to: string[];
  raw: string;
  secure: boolean;
  user?: string;
}

async function start(overrides = {}, config = {}): Promise<TestApp> {
  const service = await startApp('sqlite', {
    config: { ...toLoopback, PUBLIC_URL: 'https://forum.example', ...config },
    overrides,
  });
  onTestFinished(() => service.close());
  return service;
}

const create = (service: TestApp, url: string, more: object = {}) =>
  service.send('POST', '/webhooks', {
    ...{ name: 'mail', format: 'email', url, settings, event_types: ['forum.question.*'], answer_links: true },
    ...more,
  });

const ping = async (service: TestApp) => (await service.send('POST', '/webhooks/mail/ping')).body;

async function mailsOf(double: Double, count: number): Promise<[SeenMail, ...SeenMail[]]> {
  return vi.waitFor(async () => {
    const { mails } = await double.seen();
    expect(mails).toHaveLength(count);
    return mails;
  }, soon);
}

const header = ({ raw }: SeenMail, name: string) =>
  new RegExp(`^${name}: ((?:.|\\r\\n[ \\t])*)`, 'im')
    .exec(raw.split('\r\n\r\n', 1)[0] ?? '')?.[1]
    ?.replaceAll(/\r\n\s+/g, ' ');

/** The parts of a mail without the line breaks of quoted-printable. */
const bodyOf = ({ raw }: SeenMail) => raw.replaceAll('=\r\n', '').replaceAll('=3D', '=');

describe('e-mail', () => {
  it('tells of a question, takes an answer by its link, and tells of the answer in the same thread', async () => {
    const double = await startDouble('smtp', ['ana:geheim']);
    const service = await start();
    const created = await create(service, double.url.replace('://', '://ana:geheim@'));
    expect(created.status, JSON.stringify(created.body)).toBe(201);
    expect(JSON.stringify(created.body)).not.toMatch(/geheim|forumbus@forum/);
    expect(created.body.url).toBe(`${double.url}/…`);
    const asked = await service.send(
      'POST',
      '/control-signals',
      signal('guidance_request', {
        options: ['Yes', 'No'],
        question: 'Köln?\r\nBcc: eve@evil.example',
        priority: 'urgent',
      }),
    );
    const { question_id } = asked.body.question;
    const [first] = await mailsOf(double, 1);
    expect(first).toMatchObject({ from: settings.from, to: ['ana@forum.example', 'ben@forum.example'] });
    expect(header(first, 'message-id')).toBe(`<${question_id}@forum.example>`);
    expect(header(first, 'auto-submitted')).toBe('auto-generated');
    expect(header(first, 'list-unsubscribe')).toBe('<mailto:forumbus@forum.example?subject=unsubscribe>');
    expect(header(first, 'x-priority')).toMatch(/^1/);
    expect(header(first, 'from')).toBe('Forumbus <forumbus@forum.example>');
    expect(header(first, 'bcc')).toBeUndefined();
    const path = /https:\/\/forum\.example(\/a\/[\w.-]+)/.exec(bodyOf(first))?.[1] as string;
    const pressed = await service.app.inject({
      ...{ method: 'POST', url: path, payload: 'selected=Yes' },
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    expect(pressed.statusCode).toBe(200);
    const [, next] = await mailsOf(double, 2);
    expect(header(next as SeenMail, 'references')).toBe(`<${question_id}@forum.example>`);
    expect(header(next as SeenMail, 'in-reply-to')).toBe(`<${question_id}@forum.example>`);
    expect(bodyOf(next as SeenMail)).toContain('Answered by mail');
    expect(bodyOf(next as SeenMail)).not.toContain('/a/');
  });

  it('logs in, and tries again what the server refuses for now', async () => {
    const double = await startDouble('smtp', ['ana@x:ge/heim']);
    const service = await start();
    await create(service, double.url.replace('://', '://ana%40x:ge%2Fheim@'));
    expect(await ping(service)).toMatchObject({ ok: true, status: 250, error: null });
    expect(await mailsOf(double, 1)).toMatchObject([{ user: 'ana@x', secure: true }]);
    await double.act('fail', { code: 451, text: `Greylisted ${'ß'.repeat(1000)}` });
    const refused = await ping(service);
    expect(Buffer.byteLength(refused.response_head)).toBeLessThanOrEqual(1024);
    expect(refused).toMatchObject({
      ok: false,
      status: 451,
      error: 'The mail server answered 451.',
      response_head: expect.stringContaining('Greylisted'),
    });
    await service.send('PATCH', '/webhooks/mail', { url: double.url.replace('://', '://ana%40x:wrong@') });
    expect(await ping(service)).toMatchObject({ ok: false, status: 535 });
  });

  it('checks the certificate for the name of the server, wherever the name leads', async () => {
    const double = await startDouble('smtp', ['secure']);
    const lookup: LookupFunction = (_name, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]);
    const service = await start({ lookup });
    await create(service, double.url.replace('127.0.0.1', 'mail.forum.example'));
    expect(await ping(service)).toMatchObject({
      ok: false,
      status: null,
      error: expect.stringMatching(/certificate/i),
    });
    expect((await double.seen()).names).toEqual(['mail.forum.example']);
    expect((await double.seen()).mails).toEqual([]);
  });

  it('reaches no private address, and speaks without TLS only to one that is allowed by name', async () => {
    const double = await startDouble('smtp');
    const lookup: LookupFunction = (_name, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]);
    const service = await start({ lookup }, { WEBHOOK_ALLOW_CIDRS: '10.0.0.0/8' });
    expect((await create(service, double.url)).body.errors).toMatchObject([{ pointer: '/url' }]);
    await create(service, double.url.replace('127.0.0.1', 'mail.forum.example'));
    expect(await ping(service)).toMatchObject({
      error: 'mail.forum.example has no address that webhooks may connect to.',
    });
    expect((await double.seen()).mails).toEqual([]);
  });

  it.each([['plain'], ['with a certificate of nobody']])('goes to no public server that is %s', async kind => {
    const double = await startDouble('smtp', [kind]);
    const allowing = createAddressGuard('127.0.0.0/8');
    const asListed = createSendMail(allowing);
    // As if the address were a public one, that nobody has named.
    const asPublic = createSendMail({ ...allowing, isListed: () => false });
    const mail = { from: 'a@b.example', to: ['c@d.example'], subject: 'S', text: 'T', html: 'T', messageId: '<1@b>' };
    const { signal } = new AbortController();
    expect(await asPublic(double.url, { ...mail, isUrgent: false }, signal)).toMatchObject({
      error: expect.stringMatching(/answered 500|certificate/i),
    });
    expect((await double.seen()).mails).toEqual([]);
    expect(await asListed(double.url, { ...mail, isUrgent: false }, signal)).toMatchObject({
      status: 250,
      error: null,
    });
  });

  it.each([
    [{ settings: { from: 'nobody', to: 'ana@forum.example' } }],
    [{ settings: { from: 'a@b.example', to: 'ana@forum.example\r\nBcc: x@y.example' } }],
    [{ settings: { from: 'a@b.example' } }],
    [{ url: 'https://mail.forum.example/' }],
    [{ url: undefined }],
    [{ url: 'smtp:mail' }],
  ])('refuses %j', async more => {
    const service = await start();
    expect((await create(service, 'smtps://mail.forum.example', more)).status).toBe(400);
  });
});
