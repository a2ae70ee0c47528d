import type { LookupFunction } from 'node:net';
import { describe, expect, it } from 'vitest';
import { createAddressGuard } from '../../src/webhooks/addresses.ts';

const strict = createAddressGuard('');

describe('the guard of addresses', () => {
  it.each([
    ...['http://example.com/', 'ftp://example.com/', 'https://ana:secret@example.com/', 'https://127.0.0.1/'],
    ...['https://[::1]/', 'https://[::ffff:127.0.0.1]/', 'https://0x7f.1/', 'https://2130706433/', 'https://0.0.0.0/'],
    ...['https://10.1.2.3/', 'https://172.31.0.1/', 'https://192.168.1.1/', 'https://169.254.169.254/'],
    ...['https://100.64.0.1/', 'https://[64:ff9b::a00:1]/', 'https://[2002:a00:1::]/', 'https://[fd00::1]/'],
    ...['https://[fe80::1]/', 'https://[::10.0.0.1]/', 'https://[ff02::1]/', 'https://017700000001/'],
  ])('refuses %s', url => {
    expect(strict.fault(new URL(url))).toEqual(expect.any(String));
  });

  it.each(['https://example.com/', 'https://8.8.8.8/', 'https://[2606:4700::1]/', 'https://[::ffff:8.8.8.8]/'])(
    'lets %s through',
    url => {
      expect(strict.fault(new URL(url))).toBeUndefined();
    },
  );

  it('lets listed networks through, also without TLS, and only those', () => {
    const guard = createAddressGuard('127.0.0.0/8, fd00::/8,10.1.2.3');
    for (const url of ['http://127.0.0.1/', 'https://[fd00::1]/', 'http://10.1.2.3/', 'http://example.com/']) {
      expect(guard.fault(new URL(url)), url).toBeUndefined();
    }
    for (const url of ['http://8.8.8.8/', 'https://10.1.2.4/', 'https://192.168.0.1/']) {
      expect(guard.fault(new URL(url)), url).toEqual(expect.any(String));
    }
  });

  it.each(['10.0.0.0/33', 'example.com', '10.0.0.0/x', ':/0'])('refuses the setting %s', setting => {
    expect(() => createAddressGuard(setting)).toThrow(/WEBHOOK_ALLOW_CIDRS/);
  });

  it('resolves a name to its allowed addresses only, and to none without one', async () => {
    const answers: Record<string, string[]> = {
      'mixed.example': ['10.0.0.1', '8.8.8.8', '::1'],
      'inside.example': ['192.168.0.1'],
    };
    const resolve: LookupFunction = (hostname, _options, callback) =>
      callback(
        null,
        (answers[hostname] ?? []).map(address => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    const lookup = createAddressGuard('', resolve).lookup(false);
    const all = (hostname: string) =>
      new Promise((done, fail) =>
        lookup(hostname, { all: true }, (error, found) => (error ? fail(error) : done(found))),
      );
    expect(await all('mixed.example')).toEqual([{ address: '8.8.8.8', family: 4 }]);
    await expect(all('inside.example')).rejects.toThrow('inside.example has no address');
    const one = new Promise(done => lookup('mixed.example', {}, (_error, address) => done(address)));
    expect(await one).toBe('8.8.8.8');
  });
});
