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
    ...[
      'https://0177.0.0.1/',
      'https://127.0.0.1./',
      'https://１２７.0.0.1/',
      'https://127.1/',
      'https://198.19.255.1/',
    ],
    ...['https://[64:ff9b::7f00:1]/', 'https://[64:ff9b:1::a00:1]/', 'https://[::ffff:0:127.0.0.1]/', 'https://[::]/'],
    ...[
      'https://[200:1::1]/',
      'https://[5f00::1]/',
      'https://[2001:db8::1]/',
      'https://[2001::1]/',
      'https://[fec0::1]/',
    ],
    ...['https://255.255.255.255/', 'https://192.0.0.192/', 'https://:secret@example.com/', 'https://ana@127.0.0.1/'],
  ])('refuses %s', url => {
    expect(strict.fault(new URL(url))).toEqual(expect.any(String));
  });

  it.each([
    'https://example.com/',
    'https://localhost./',
    'https://8.8.8.8/',
    'https://[2001:4860:4860::8888]/',
    'https://[2606:4700::1]/',
    'https://[::ffff:8.8.8.8]/',
  ])('lets %s through', url => {
    expect(strict.fault(new URL(url))).toBeUndefined();
  });

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

  it.each([
    ...['127.0.0.1', '0.0.0.0', '10.0.0.1', '100.64.0.1', '100.127.255.255', '169.254.169.254', '172.16.0.1'],
    ...['192.168.1.1', '198.18.0.1', '224.0.0.1', '255.255.255.255', '::', '::1', '::ffff:127.0.0.1'],
    ...['::ffff:a9fe:a9fe', '::ffff:0:127.0.0.1', '::127.0.0.1', '64:ff9b::127.0.0.1', '64:ff9b::a9fe:a9fe'],
    ...[
      '64:ff9b:1::1',
      '100::1',
      '2002:7f00:1::',
      '2001:0:1::',
      'fc00::1',
      'fd12::1',
      'fe80::1',
      'fe80::1%lo',
      'ff02::1',
    ],
  ])('connects to no name that means %s', async address => {
    const resolve: LookupFunction = (_hostname, _options, callback) =>
      callback(null, [{ address, family: address.includes(':') ? 6 : 4 }]);
    for (const plain of [false, true]) {
      const lookup = createAddressGuard('203.0.113.1', resolve).lookup(plain);
      const found = new Promise((done, fail) =>
        lookup('x.', {}, (error, found) => (error ? fail(error) : done(found))),
      );
      await expect(found).rejects.toThrow('x. has no address');
    }
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

  it('looks a name up once for all who ask meanwhile, and judges it for each', async () => {
    const asked: string[] = [];
    const ends: (() => void)[] = [];
    const resolve: LookupFunction = (hostname, _options, callback) => {
      asked.push(hostname);
      ends.push(() => callback(null, [{ address: '8.8.8.8', family: 4 }]));
    };
    const guard = createAddressGuard('10.0.0.1', resolve);
    const found = (hostname: string, plain: boolean) =>
      new Promise(done => guard.lookup(plain)(hostname, {}, (error, address) => done(error?.message ?? address)));
    const both = [found('slow.example', false), found('slow.example', true), found('quick.example', false)];
    expect(asked).toEqual(['slow.example', 'quick.example']);
    for (const end of ends.splice(0)) end();
    expect(await Promise.all(both)).toEqual(['8.8.8.8', expect.stringContaining('has no address'), '8.8.8.8']);
    // Nothing is kept: what a name means may change.
    const again = found('slow.example', false);
    expect(asked).toHaveLength(3);
    ends[0]?.();
    expect(await again).toBe('8.8.8.8');
  });
});
