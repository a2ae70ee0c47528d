import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { expectProblem } from '../helpers/problems.ts';
import { bearer, firstToken } from '../helpers/tokens.ts';

const PROXY = '10.1.0.7';
const STRANGER = '198.51.100.9';

describe('behind TRUST_PROXY=10.1.0.0/16,127.0.0.1', () => {
  let service: TestApp;
  let token: string;
  beforeAll(async () => {
    service = await startApp('sqlite', { config: { TRUST_PROXY: '10.1.0.0/16,127.0.0.1', STREAMS_PER_CALLER: '1' } });
    ({ token } = await firstToken(service.url));
    return () => service.close();
  });

  const ask = (remoteAddress: string, forwarded?: string, more: Record<string, string> = {}) =>
    service.app.inject({
      url: '/stats',
      remoteAddress,
      headers: { ...(forwarded !== undefined && { 'x-forwarded-for': forwarded }), ...more },
    });
  /** Uses up the failures of an address. */
  const exhaust = async (remoteAddress: string, forwarded?: (count: number) => string) => {
    const statuses: number[] = [];
    for (let count = 0; count < 61; count += 1) {
      statuses.push((await ask(remoteAddress, forwarded?.(count))).statusCode);
    }
    return statuses.lastIndexOf(429);
  };

  it('callers of a proxy are limited one by one', async () => {
    expect(await exhaust(PROXY, () => '192.0.2.1')).toBe(60);
    expect((await ask(PROXY, '192.0.2.1')).statusCode).toBe(429);
    expect((await ask(PROXY, '192.0.2.2')).statusCode).toBe(401);
    expect((await ask(PROXY, '192.0.2.1', bearer(token))).statusCode).toBe(200);
  });

  it('a caller that invents addresses is limited by its own', async () => {
    // Its own header, with that of a proxy that continues it.
    expect(await exhaust(PROXY, count => `192.0.3.${count}, 127.0.0.1, 203.0.113.5`)).toBe(60);
    // Past the proxy.
    expect(await exhaust(STRANGER, count => `192.0.4.${count}`)).toBe(60);
    expect((await ask(STRANGER)).statusCode).toBe(429);
  });

  it('a chain of proxies ends at the first that is not listed', async () => {
    expect(await exhaust(PROXY, count => `192.0.5.${count}, 203.0.113.6, 10.1.9.9`)).toBe(60);
    expect((await ask(PROXY, '203.0.113.6')).statusCode).toBe(429);
  });

  it('what is no address counts as the proxy', async () => {
    const proxy = '10.1.0.8';
    expect(await exhaust(proxy, count => `unknown-${count}`)).toBe(60);
    expect((await ask(proxy)).statusCode).toBe(429);
  });

  it('a login is secure where the proxy says https, and only there', async () => {
    const logIn = async (remoteAddress: string) => {
      const headers = { ...bearer(token), 'x-forwarded-proto': 'https', 'x-forwarded-for': '192.0.2.9' };
      return service.app.inject({ method: 'POST', url: '/page/session', remoteAddress, headers });
    };
    expect((await logIn(PROXY)).headers['set-cookie']).toMatch(/; Secure$/);
    expect((await logIn(STRANGER)).headers['set-cookie']).toMatch(/SameSite=Strict$/);
  });
});

it('without TRUST_PROXY the headers count for nothing', async () => {
  const service = await startApp('sqlite');
  onTestFinished(service.close);
  await firstToken(service.url);
  const statuses: number[] = [];
  for (let count = 0; count < 61; count += 1) {
    const headers = { 'x-forwarded-for': `192.0.2.${count}`, 'x-real-ip': `192.0.2.${count}` };
    statuses.push((await service.app.inject({ url: '/stats', remoteAddress: '127.0.0.1', headers })).statusCode);
  }
  expect(statuses.lastIndexOf(429)).toBe(60);
});

it('a service without tokens does not answer callers elsewhere for whom its proxy asks', async () => {
  const service = await startApp('sqlite', { config: { TRUST_PROXY: '127.0.0.1' } });
  onTestFinished(service.close);
  const local = { host: 'localhost:8080', 'x-forwarded-proto': 'https' };
  const ask = (forwarded: string, more = {}) =>
    service.send('GET', '/stats', undefined, { ...local, 'x-forwarded-for': forwarded, ...more });
  expectProblem(await ask('192.0.2.1'), 'HOST_NOT_ALLOWED');
  expectProblem(await ask('unknown'), 'HOST_NOT_ALLOWED');
  expect((await ask('127.0.0.1', { origin: 'https://localhost:8080' })).status).toBe(200);
  expectProblem(await ask('127.0.0.1', { origin: 'https://elsewhere.example' }), 'ORIGIN_NOT_ALLOWED');
});
