import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { verifyWebhook } from '../../src/client/index.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const other = `whsec_${Buffer.from('another secret of 24 byt').toString('base64')}`;
const body = '{"test": "ü"}';

function sign(text: string, by: string, at: number): string {
  const key = Buffer.from(by.replace('whsec_', ''), 'base64');
  return `v1,${createHmac('sha256', key).update(`msg_1.${at}.${text}`).digest('base64')}`;
}

const now = () => Math.floor(Date.now() / 1000);
function headersOf({ by = secret, at = now(), text = body } = {}) {
  return { 'Webhook-Id': 'msg_1', 'Webhook-Timestamp': String(at), 'Webhook-Signature': sign(text, by, at) };
}

describe('verifyWebhook', () => {
  it('returns the body of a right one, from headers of any kind', async () => {
    expect(await verifyWebhook(headersOf(), body, secret)).toEqual({ test: 'ü' });
    expect(await verifyWebhook(new Headers(headersOf()), Buffer.from(body), secret)).toEqual({ test: 'ü' });
  });

  it('takes one right signature of several, and one right secret of several', async () => {
    const headers = headersOf();
    const many = {
      ...headers,
      'Webhook-Signature': `v1a,x v1,!! ${sign(body, other, 1)} ${headers['Webhook-Signature']}`,
    };
    expect(await verifyWebhook(many, body, [other, secret])).toEqual({ test: 'ü' });
  });

  const forged: [string, Record<string, string>, string][] = [
    ['another body', headersOf(), '{"test": 1}'],
    ['another secret', headersOf({ by: other }), body],
    ['an old time', headersOf({ at: now() - 301 }), body],
    ['a time to come', headersOf({ at: now() + 302 }), body],
    ['no time', { ...headersOf(), 'Webhook-Timestamp': 'soon' }, body],
    ['another id', { ...headersOf(), 'Webhook-Id': 'msg_2' }, body],
    ['no signature', { ...headersOf(), 'Webhook-Signature': '' }, body],
    [
      'a shorter signature',
      { ...headersOf(), 'Webhook-Signature': headersOf()['Webhook-Signature'].slice(0, -8) },
      body,
    ],
  ];
  it.each(forged)('refuses %s', async (_name, headers, text) => {
    await expect(verifyWebhook(headers, text, secret)).rejects.toMatchObject({ code: 'INVALID_SIGNATURE' });
  });
});
