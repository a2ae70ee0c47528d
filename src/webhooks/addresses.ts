import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { isWithin, networkList, readNetworks } from '../networks.ts';

/** Addresses that no request from outside reaches: private, local, reserved, and IPv6 ones that embed an IPv4 address. */
const PRIVATE = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'],
  ...['224.0.0.0/4', '240.0.0.0/4'],
  ...['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20', '4000::/2', '8000::/1'],
];
/** Below 2000::/3, where the public ones begin: all but ::ffff:0:0/96, which are IPv4 addresses and judged as such. */
const BELOW_PUBLIC = [
  ['::', '::fffe:ffff:ffff'],
  ['::1:0:0:0', '1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
] as const;

/** Decides which addresses webhooks may connect to. A name is judged by the addresses that are connected to. */
export interface AddressGuard {
  /** Why a URL can never be sent to; undefined if its addresses decide, or if it may be. `way`: how it is sent. */
  fault(url: URL, way?: Way): string | undefined;
  /** For a connection: resolves a name to those of its addresses that are allowed. `plain`: for HTTP without TLS. */
  lookup(plain: boolean): LookupFunction;
  /** Whether an address was allowed by name: it may be spoken to without TLS. */
  isListed(address: string): boolean;
}

type Way = 'http' | 'socket' | 'mail';

/** The schemes of each way: with TLS, and without. */
const SCHEMES: Record<Way, readonly [string, string]> = {
  http: ['https', 'http'],
  socket: ['wss', 'ws'],
  mail: ['smtps', 'smtp'],
};

/**
 * @param allowed networks such as `127.0.0.0/8,10.1.0.0/16` that are allowed although they are private, also without TLS
 * @param resolve the resolver of names
 * @throws StartError if one of them is no network
 */
export function createAddressGuard(allowed: string, resolve: LookupFunction = systemLookup): AddressGuard {
  const listed = readNetworks('WEBHOOK_ALLOW_CIDRS', allowed);
  const refused = networkList(PRIVATE);
  for (const [first, last] of BELOW_PUBLIC) refused.addRange(first, last, 'ipv6');

  function isAllowed(address: string, plain: boolean): boolean {
    return isIP(address) !== 0 && (isWithin(listed, address) || (!plain && !isWithin(refused, address)));
  }

  /** Lookups that have not ended, by name. The system runs two at a time: alone, a name that hangs takes only one of them. */
  const pending = new Map<string, Promise<LookupAddress[]>>();

  function addressesOf(hostname: string): Promise<LookupAddress[]> {
    const known = pending.get(hostname);
    if (known) return known;
    const found = new Promise<LookupAddress[]>((done, fail) => {
      resolve(hostname, { all: true }, (error, addresses) =>
        error ? fail(error) : done(addresses as LookupAddress[]),
      );
    }).finally(() => pending.delete(hostname));
    pending.set(hostname, found);
    return found;
  }

  return {
    fault(url, way = 'http') {
      const { protocol, hostname, username, password } = url;
      const [secure, insecure] = SCHEMES[way];
      if (protocol !== `${secure}:` && protocol !== `${insecure}:`) return `must be an ${secure} URL`;
      if (hostname === '') return 'must name a host';
      // A mail server takes nothing from strangers, and makes TLS of a plain connection.
      if (way !== 'mail' && (username !== '' || password !== '')) return 'must hold no user name and password';
      const plain = way !== 'mail' && protocol === `${insecure}:`;
      const address = hostname.replace(/^\[(.*)\]$/, '$1');
      if (isIP(address) !== 0 && !isAllowed(address, plain)) {
        return plain
          ? `must be ${secure}, or in WEBHOOK_ALLOW_CIDRS`
          : 'must be a public address, or in WEBHOOK_ALLOW_CIDRS';
      }
      return plain && allowed === '' ? `must be ${secure}` : undefined;
    },

    isListed: address => isWithin(listed, address),

    lookup: plain => (hostname, options, callback) => {
      const judge = (addresses: LookupAddress[]) => {
        const good = addresses.filter(({ address }) => isAllowed(address, plain));
        const [first] = good;
        if (!first) callback(new Error(`${hostname} has no address that webhooks may connect to.`), []);
        else if (options.all) callback(null, good);
        else callback(null, first.address, first.family);
      };
      addressesOf(hostname).then(judge, error => callback(error, []));
    },
  };
}
