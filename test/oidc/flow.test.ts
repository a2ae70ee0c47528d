import { randomBytes } from 'node:crypto';
import { UnsecuredJWT } from 'jose';
import { expect, it } from 'vitest';
import { type Flow, seal, unseal } from '../../src/oidc/flow.ts';

const flow: Flow = { state: 'the-state', nonce: 'the-nonce', verifier: 'the-verifier', view: '/runs' };
const key = new Uint8Array(randomBytes(32));
const now = Date.parse('2026-11-29T09:00:00.000Z');

it('is what was sealed, until its time is over', async () => {
  const text = await seal(flow, key, now + 600_000);
  expect(await unseal(text, key, now)).toEqual(flow);
  expect(await unseal(text, key, now + 599_999)).toEqual(flow);
  expect(await unseal(text, key, now + 600_000)).toBeUndefined();
});

it('can be neither read nor changed nor made without the key', async () => {
  const text = await seal(flow, key, now + 600_000);
  for (const part of text.split('.')) {
    for (const secret of Object.values(flow)) {
      expect(Buffer.from(part, 'base64url').toString('latin1')).not.toContain(secret);
    }
  }
  expect(await unseal(text, new Uint8Array(randomBytes(32)), now)).toBeUndefined();
  for (let at = 0; at < text.length; at += 1) {
    // The highest bit of a character always counts; the last one of a part has bits that do not.
    const other = /[A-Za-f]/.test(text.charAt(at)) ? '_' : 'A';
    expect(await unseal(text.slice(0, at) + other + text.slice(at + 1), key, now), String(at)).toBeUndefined();
  }
  expect(await unseal(new UnsecuredJWT({ ...flow }).encode(), key, now)).toBeUndefined();
  expect(await unseal('', key, now)).toBeUndefined();
});

it('fits into a cookie with the longest view', async () => {
  const longest = {
    state: 's'.repeat(43),
    nonce: 'n'.repeat(43),
    verifier: 'v'.repeat(43),
    view: `/${'\u{1F600}'.repeat(499)}`,
  };
  expect((await seal(longest, key, now)).length).toBeLessThan(3800);
});
