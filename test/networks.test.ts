import { expect, it } from 'vitest';
import { isWithin, readNetworks } from '../src/networks.ts';

it.each([
  ['127.0.0.1', ['127.0.0.1', '::ffff:127.0.0.1'], ['127.0.0.2', '::1', '::ffff:127.0.0.2']],
  ['10.1.0.0/16, 2001:db8::/32', ['10.1.255.255', '2001:db8::7'], ['10.2.0.0', '2001:db9::']],
  ['fe80::/10', ['fe80::1', 'fe80::1%eth0'], ['127.0.0.1']],
  ['0.0.0.0/0', ['203.0.113.9'], ['2001:db8::7']],
  ['', [], ['127.0.0.1', '::1']],
])('%j holds its addresses and no others', (setting, inside, outside) => {
  const networks = readNetworks('X', setting);
  const held = (addresses: string[]) => addresses.map(address => isWithin(networks, address));
  expect(held(inside)).toEqual(inside.map(() => true));
  expect(held([...outside, '', 'unknown', '10.1.0.1:443', '%'])).not.toContain(true);
});

it.each([
  '10.1.0.0/33',
  '::/129',
  '10.1/16',
  'localhost',
  '10.1.0.0/',
  '10.1.0.0/8/8',
  '10.1.0.0/-1',
  '10.0.0.1,',
  ' ',
])('%j is refused', setting => {
  expect(() => readNetworks('TRUST_PROXY', setting)).toThrow('The setting TRUST_PROXY is wrong: ');
});
