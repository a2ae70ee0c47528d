import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import { type Answer, startApp, type TestApp } from '../helpers/app.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { exchange, listen } from '../helpers/socket.ts';
import { firstToken } from '../helpers/tokens.ts';

/** For what happens a moment after its cause. */
const PATIENCE = { timeout: 10_000, interval: 10 };
const PROBES = ['/livez', '/readyz', '/bus/health'];

async function started(config: Record<string, string> = {}): Promise<TestApp> {
  const service = await startApp('sqlite', { config });
  onTestFinished(() => service.close());
  return service;
}

/** Makes a token; the first one closes a service that was open. */
async function tokenOf(service: TestApp, by?: string): Promise<string> {
  const body = { role: 'admin', actor: { type: 'operator', name: 'ana' } } as const;
  if (by === undefined) return (await firstToken(service.url, body)).token;
  const answer = await service.send('POST', '/tokens', body, bearer(by));
  expect(answer.status).toBe(201);
  return answer.body.token;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('the size of', () => {
  let service: TestApp;
  let port: number;
  beforeAll(async () => {
    service = await startApp('sqlite');
    port = await listen(service.app);
  });
  afterAll(() => service.close());

  const onSocket = async (target: string, headers: string[] = []): Promise<Answer> => {
    const head = [`GET ${target} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers];
    const { status, headers: got, body } = await exchange(port, `${head.join('\r\n')}\r\n\r\n`);
    return { status, headers: got, body: JSON.parse(body) };
  };
  const target = (length: number) => `/livez?${'x'.repeat(length - '/livez?'.length)}`;

  it('a URL may be 8,192 characters', async () => {
    // It is read then, and refused for what it says.
    expectProblem(await onSocket(target(8192)), 'VALIDATION_FAILED');
    expectProblem(await onSocket(target(8193)), 'URI_TOO_LONG');
    expectProblem(await onSocket(`/${'x'.repeat(8192)}`), 'URI_TOO_LONG');
    expectProblem(await onSocket(`/threads/${'x'.repeat(4001)}`), 'URI_TOO_LONG');
  });

  it('all headers may be 16 KiB, in any number of them', async () => {
    expect((await onSocket('/livez', [`X-Large: ${'x'.repeat(15_000)}`])).status).toBe(200);
    expectProblem(await onSocket('/livez', [`X-Large: ${'x'.repeat(16_384)}`]), 'HEADERS_TOO_LARGE');
  });

  it('a request may be 100 headers', async () => {
    const further = (count: number) => Array.from({ length: count }, (_, index) => `X-${index}: 1`);
    expect((await onSocket('/livez', further(98))).status).toBe(200);
    expectProblem(await onSocket('/livez', further(99)), 'HEADERS_TOO_LARGE');
    expectProblem(await onSocket('/livez', further(1500)), 'HEADERS_TOO_LARGE');
  });

  it('the longest names there are fits, two of them in a path and in a query', async () => {
    const longest = '😀'.repeat(200);
    const sent = await service.send(
      'POST',
      '/control-signals',
      signal('completion', { run_id: longest, agent_name: longest }),
    );
    expect(sent.status).toBe(201);
    const name = encodeURIComponent(longest);
    expect((await onSocket(`/control-threads/${name}/${name}`)).status).toBe(200);
    expect((await onSocket(`/threads?run_id=${name}&agent_name=${name}`)).body.items).toHaveLength(1);
  });

  it('every text in a query string has an end', () => {
    const parameters = Object.values(openapi.paths).flatMap(item =>
      Object.values(item as Record<string, { operationId: string; parameters?: Parameter[] }>).flatMap(operation =>
        (operation.parameters ?? [])
          .filter(parameter => parameter.in === 'query')
          .map(({ name, schema }) => ({ name: `${operation.operationId} ${name}`, schema })),
      ),
    );
    expect(parameters.length).toBeGreaterThan(50);
    const endless = parameters.filter(({ schema }) => schema.type === 'string' && !schema.enum && !schema.maxLength);
    expect(endless).toEqual([]);
  });

  it.each([
    ['/threads', 'cursor', 4096],
    ['/threads', 'q', 1000],
  ])('%s?%s= is at most %i', async (path, name, length) => {
    const { status, headers, body } = await onSocket(`${path}?${name}=${'x'.repeat(length + 1)}`);
    expectProblem({ status, headers, body }, 'VALIDATION_FAILED');
    expect(body.errors).toEqual([expect.objectContaining({ in: 'query', pointer: `/${name}` })]);
  });
});

interface Parameter {
  in: string;
  name: string;
  schema: { type?: string; enum?: unknown[]; maxLength?: number };
}

describe('requests per minute', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('of a token have an end, which is its own', async () => {
    const service = await started({ RATE_LIMIT_PER_MINUTE: '5' });
    const one = await tokenOf(service);
    const other = await tokenOf(service, one);
    const stats = (token: string) => service.send('GET', '/stats', undefined, bearer(token));
    for (const remaining of [3, 2, 1, 0]) {
      const answer = await stats(one);
      expect(answer.status).toBe(200);
      expect(answer.headers).toMatchObject({ 'ratelimit-limit': '5', 'ratelimit-remaining': String(remaining) });
    }
    const refused = await stats(one);
    expectProblem(refused, 'RATE_LIMITED');
    expect(refused.headers).toMatchObject({ 'ratelimit-limit': '5', 'ratelimit-remaining': '0' });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(60);
    expect((await stats(other)).status).toBe(200);
  });

  it('are counted anew when the time has passed that Retry-After has named', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const service = await started({ RATE_LIMIT_PER_MINUTE: '1' });
    const token = await tokenOf(service);
    const stats = () => service.send('GET', '/stats', undefined, bearer(token));
    expect((await stats()).status).toBe(200);
    const refused = await stats();
    expectProblem(refused, 'RATE_LIMITED');
    vi.advanceTimersByTime(Number(refused.headers['retry-after']) * 1000);
    expect((await stats()).status).toBe(200);
    expectProblem(await stats(), 'RATE_LIMITED');
  });

  it('are counted by no wall clock: one that is set back locks nobody out', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    const service = await started({ RATE_LIMIT_PER_MINUTE: '1' });
    const token = await tokenOf(service);
    const stats = () => service.send('GET', '/stats', undefined, bearer(token));
    expect((await stats()).status).toBe(200);
    vi.setSystemTime(Date.now() - 7_200_000);
    const refused = await stats();
    expectProblem(refused, 'RATE_LIMITED');
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(60);
    vi.advanceTimersByTime(60_000);
    expect((await stats()).status).toBe(200);
  });

  it('are forgotten of whoever was not heard of for longest, if very many are counted', async () => {
    const service = await started();
    await tokenOf(service);
    const from = async (address: number) => {
      const remoteAddress = `10.${address >> 16}.${(address >> 8) & 255}.${address & 255}`;
      return (await service.app.inject({ url: '/stats', remoteAddress })).headers['ratelimit-remaining'];
    };
    for (const address of [0, 1, 0]) await from(address);
    for (let address = 2; address <= 10_000; address += 1) await from(address);
    expect([await from(0), await from(1)]).toEqual(['57', '59']);
  });

  it('count also what the role may not do', async () => {
    const service = await started({ RATE_LIMIT_PER_MINUTE: '2' });
    const admin = await tokenOf(service);
    const agent = { role: 'agent', runs: 'run-1', agents: 'builder' };
    const { token } = (await service.send('POST', '/tokens', agent, bearer(admin))).body;
    const codes = [];
    for (let count = 0; count < 3; count += 1) {
      codes.push((await service.send('GET', '/stats', undefined, bearer(token))).body.code);
    }
    expect(codes).toEqual(['FORBIDDEN', 'FORBIDDEN', 'RATE_LIMITED']);
  });

  it('of an address without a valid token have an end, but not for its good tokens', async () => {
    const service = await started();
    const token = await tokenOf(service);
    const bad = [{}, { authorization: 'Basic YTpi' }, bearer(`fbt_${'0'.repeat(16)}_${'0'.repeat(64)}`)];
    const from = async (remoteAddress: string, index: number) =>
      service.app.inject({ url: '/stats', remoteAddress, headers: bad[index % 3] as Record<string, string> });
    for (let count = 0; count < 60; count += 1) {
      const answer = await from('192.0.2.1', count);
      expect(answer.json().code).toBe('UNAUTHORIZED');
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="forumbus"');
    }
    const { statusCode: status, headers, ...answer } = await from('192.0.2.1', 0);
    expectProblem({ status, headers, body: answer.json() }, 'RATE_LIMITED');
    expect(headers).toMatchObject({ 'retry-after': expect.stringMatching(/^\d+$/), 'ratelimit-limit': '60' });
    expect((await from('192.0.2.2', 0)).statusCode).toBe(401);
    const good = { url: '/stats', remoteAddress: '192.0.2.1', headers: bearer(token) };
    expect((await service.app.inject(good)).statusCode).toBe(200);
  });

  it('of the addresses of one IPv6 network count together', async () => {
    const service = await started();
    await tokenOf(service);
    const from = async (host: number) =>
      service.app.inject({ url: '/stats', remoteAddress: `2001:db8:1:2:${host.toString(16)}::1` });
    for (let host = 1; host <= 60; host += 1) expect((await from(host)).statusCode).toBe(401);
    expect((await from(61)).statusCode).toBe(429);
  });

  it('leave probes alone, with and without a token', async () => {
    const service = await started({ RATE_LIMIT_PER_MINUTE: '1' });
    const token = await tokenOf(service);
    for (const url of PROBES) {
      for (let count = 0; count < 70; count += 1) {
        const answer = await service.send('GET', url, undefined, count % 2 === 0 ? bearer(token) : {});
        expect(answer.status).toBe(200);
        expect(answer.headers).not.toHaveProperty('ratelimit-limit');
      }
    }
    expect((await service.send('GET', '/stats', undefined, bearer(token))).status).toBe(200);
  });

  it('do not end on a service without tokens, or with RATE_LIMIT_PER_MINUTE=0', async () => {
    const open = await started({ RATE_LIMIT_PER_MINUTE: '1' });
    for (let count = 0; count < 5; count += 1) expect((await open.send('GET', '/stats')).status).toBe(200);
    const endless = await started({ RATE_LIMIT_PER_MINUTE: '0' });
    const token = await tokenOf(endless);
    for (let count = 0; count < 5; count += 1) {
      const answer = await endless.send('GET', '/stats', undefined, bearer(token));
      expect(answer.status).toBe(200);
      expect(answer.headers).not.toHaveProperty('ratelimit-limit');
    }
  });
});

describe('an event loop that is late', () => {
  it('does not count while the service starts: the first requests after it are answered', async () => {
    let starting = true;
    const hold = () => {
      const until = performance.now() + 50;
      while (performance.now() < until);
      if (starting) setImmediate(hold);
    };
    hold();
    const service = await started({ MAX_EVENT_LOOP_DELAY_MS: '20' });
    starting = false;
    const began = performance.now();
    while (performance.now() - began < 1500) {
      expect((await service.send('GET', '/stats')).status).toBe(200);
      await delay(20);
    }
  });

  it('refuses requests until it has caught up, and never probes', async () => {
    const service = await started({ MAX_EVENT_LOOP_DELAY_MS: '20' });
    let late = true;
    const hold = () => {
      const until = performance.now() + 100;
      while (performance.now() < until);
      if (late) setImmediate(hold);
    };
    onTestFinished(() => {
      late = false;
    });
    hold();
    const refused = await vi.waitFor(async () => {
      const answer = await service.send('GET', '/stats');
      expect(answer.status).not.toBe(200);
      return answer;
    }, PATIENCE);
    expectProblem(refused, 'SERVICE_UNAVAILABLE');
    expect(refused.headers['retry-after']).toBe('1');
    for (const url of PROBES) expect((await service.send('GET', url)).status).toBe(200);
    late = false;
    await vi.waitFor(async () => expect((await service.send('GET', '/stats')).status).toBe(200), PATIENCE);
  });
});
