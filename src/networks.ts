import { BlockList, isIP } from 'node:net';
import { StartError } from './errors.ts';

/**
 * Reads a setting that lists networks, such as `127.0.0.0/8,10.1.0.0/16`; an address without a prefix is a network of one.
 * @throws StartError that names the setting if one of them is no network
 */
export function readNetworks(setting: string, value: string): BlockList {
  return networkList(value === '' ? [] : value.split(','), network => {
    return new StartError(`The setting ${setting} is wrong: ${network} is no network such as 10.1.0.0/16.`);
  });
}

/** A list of networks that are known to be right. */
export function networkList(networks: readonly string[], wrong = (network: string) => new Error(network)): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix, ...more] = network.trim().split('/');
    const bits = isIP(address) === 6 ? 128 : 32;
    const isNetwork = isIP(address) !== 0 && more.length === 0 && /^\d{1,3}$/.test(prefix ?? String(bits));
    if (!isNetwork || Number(prefix ?? bits) > bits) throw wrong(network);
    list.addSubnet(address, Number(prefix ?? bits), familyOf(address));
  }
  return list;
}

/** Whether an address is in one of the networks; what is no address is in none. */
export function isWithin(networks: BlockList, address: string): boolean {
  // A link-local address may come with its interface (RFC 4007, 11).
  const [bare = ''] = address.split('%');
  return isIP(bare) !== 0 && networks.check(bare, familyOf(bare));
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
