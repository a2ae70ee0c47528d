import { isIP } from 'node:net';
import { normalizeIP } from '@fastify/rate-limit';
import type { FastifyRequest } from 'fastify';
import { isWithin, readNetworks } from '../networks.ts';

/**
 * The `trustProxy` option of Fastify: which peers may say in `X-Forwarded-For` and `X-Forwarded-Proto` for whom they
 * forward a request. Of a chain, the nearest address that is not listed counts, so callers can invent none.
 * @param networks the setting `TRUST_PROXY`; without one the headers count for nothing
 */
export function trustedProxies(networks: string): undefined | ((address: string) => boolean) {
  if (networks === '') return undefined;
  const listed = readNetworks('TRUST_PROXY', networks);
  return address => isWithin(listed, address);
}

/** The address that limits count a request for: that of the caller, or of a proxy that is not trusted. */
export function addressOf({ ip, socket }: Pick<FastifyRequest, 'ip' | 'socket'>): string {
  // A proxy may forward what is no address.
  return normalizeIP(isIP(ip) === 0 ? (socket.remoteAddress ?? '') : ip);
}
