import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { exchange, listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { firstToken } from '../helpers/tokens.ts';

const ALWAYS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
};
const NOTHING = "default-src 'none'; frame-ancestors 'none'";
const PAGE = 'https://desk.example';

describe('security headers', () => {
  let service: TestApp;
  let port: number;
  beforeAll(async () => {
    service = await startApp('sqlite');
    port = await listen(service.app);
    await service.send('POST', '/control-signals', signal('completion'));
  });
  afterAll(() => service.close());

  it.each(['/stats', '/livez', '/openapi.json', '/nowhere', '/threads?colour=red', '/%zz', '/runs/none'])(
    'are on the answer to %s, which nobody may keep',
    async url => {
      const { headers } = await service.app.inject(url);
      expect(headers).toMatchObject({ ...ALWAYS, 'content-security-policy': NOTHING, 'cache-control': 'no-store' });
    },
  );

  it('are on the answer to a write', async () => {
    const { status, headers } = await service.send('POST', '/control-signals', signal('validation'));
    expect(status).toBe(201);
    expect(headers).toMatchObject({ ...ALWAYS, 'content-security-policy': NOTHING, 'cache-control': 'no-store' });
  });

  it('are on the answer to bytes that are no request', async () => {
    const { headers } = await exchange(port, 'hello\r\n\r\n');
    expect(headers).toMatchObject({ ...ALWAYS, 'content-security-policy': NOTHING, 'cache-control': 'no-store' });
  });

  it('are on a stream', async () => {
    const { response } = await openStream(`http://127.0.0.1:${port}`);
    expect(response.headers).toMatchObject({ ...ALWAYS, 'cache-control': 'no-cache, no-transform' });
  });

  it('let the caller keep what has an ETag, to ask each time whether it is current', async () => {
    const url = '/runs/run-1';
    const read = await service.send('GET', url);
    expect(read.headers).toMatchObject({ ...ALWAYS, 'cache-control': 'private, no-cache' });
    const etag = String(read.headers.etag);
    const current = await service.send('GET', url, undefined, { 'if-none-match': etag });
    expect(current.status).toBe(304);
    expect(current.headers).toMatchObject({ ...ALWAYS, etag, 'cache-control': 'private, no-cache' });
  });

  it('give the pages of the documentation a policy that lets them work', async () => {
    for (const url of ['/docs/', '/docs/static/swagger-ui.css']) {
      const { statusCode, headers } = await service.app.inject(url);
      expect(statusCode).toBe(200);
      expect(headers).toMatchObject(ALWAYS);
      expect(headers['content-security-policy']).toContain("script-src 'self'");
      expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    }
  });
});

/** A service whose pages at PAGE are let in; with a token if there is to be one. */
async function desk({ token = false, origins = PAGE } = {}): Promise<{ service: TestApp; token: string }> {
  const service = await startApp('sqlite', { config: { CORS_ORIGINS: origins } });
  onTestFinished(() => service.close());
  if (!token) return { service, token: '' };
  const { token: secret } = await firstToken(service.url);
  // What needs no token goes by what the service knew at the last request, so that probes wait for no database.
  await service.send('GET', '/stats', undefined, { authorization: `Bearer ${secret}` });
  return { service, token: secret };
}

function preflight({ app }: TestApp, origin: string, url = '/questions/q_1/answer') {
  return app.inject({
    method: 'OPTIONS',
    url,
    headers: {
      host: '127.0.0.1:4010',
      origin,
      'access-control-request-method': 'PUT',
      'access-control-request-headers': 'authorization,content-type,idempotency-key',
    },
  });
}

const allowances = (headers: Record<string, unknown>) =>
  Object.keys(headers).filter(name => name.startsWith('access-control-'));

describe('pages of another origin', () => {
  it('are let in by nothing if CORS_ORIGINS names none', async () => {
    const { service, token } = await desk({ token: true, origins: '' });
    const asked = await preflight(service, PAGE);
    expectProblem({ status: asked.statusCode, headers: asked.headers, body: asked.json() }, 'METHOD_NOT_ALLOWED');
    const read = await service.send('GET', '/stats', undefined, { origin: PAGE, authorization: `Bearer ${token}` });
    expect([...allowances(asked.headers), ...allowances(read.headers)]).toEqual([]);
  });

  it.each([true, false])('may ask beforehand, without a token (the service has tokens: %s)', async token => {
    const { service } = await desk({ token });
    const { statusCode, headers } = await preflight(service, PAGE);
    expect(statusCode).toBe(204);
    expect(headers).toMatchObject({
      'access-control-allow-origin': PAGE,
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
      'access-control-allow-headers':
        'Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID',
    });
    expect(headers).not.toHaveProperty('access-control-allow-credentials');
    expect(String(headers.vary)).toContain('Origin');
  });

  it('read answers, and why they are refused', async () => {
    const { service, token } = await desk({ token: true });
    const ask = (authorization: string) => service.send('GET', '/stats', undefined, { origin: PAGE, authorization });
    const read = await ask(`Bearer ${token}`);
    expect(read.status).toBe(200);
    const refused = await ask('Bearer nothing');
    expectProblem(refused, 'UNAUTHORIZED');
    for (const { headers } of [read, refused]) {
      expect(headers).toMatchObject({
        'access-control-allow-origin': PAGE,
        'access-control-expose-headers': 'Location, ETag, Retry-After, Idempotency-Replayed, X-Request-Id',
      });
    }
  });

  it('write to a service without tokens, if they are named', async () => {
    const { service } = await desk();
    const send = (origin: string) => service.send('POST', '/control-signals', signal('completion'), { origin });
    const sent = await send(PAGE);
    expect(sent.status).toBe(201);
    expect(sent.headers).toHaveProperty('access-control-allow-origin', PAGE);
    expectProblem(await send('https://evil.example'), 'ORIGIN_NOT_ALLOWED');
  });

  it.each([
    ['another one', 'https://evil.example'],
    ['one that begins like it', `${PAGE}.evil.example`],
    ['another scheme', 'http://desk.example'],
    ['another port', `${PAGE}:8443`],
    ['none', 'null'],
  ])('stay outside: %s', async (_, origin) => {
    const { service, token } = await desk({ token: true, origins: `http://localhost:8080,${PAGE}` });
    const asked = await preflight(service, origin);
    expect(asked.statusCode).toBe(405);
    const read = await service.send('GET', '/stats', undefined, { origin, authorization: `Bearer ${token}` });
    expect([...allowances(asked.headers), ...allowances(read.headers)]).toEqual([]);
  });
});
