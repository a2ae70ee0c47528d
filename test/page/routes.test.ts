import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { bearer, people, type Tokens, withTokens } from '../helpers/tokens.ts';

const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
const page = { host: 'localhost:4010', 'sec-fetch-site': 'same-origin', 'x-forumbus-page': '1' };

describe('the page', () => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp('sqlite');
  });
  afterAll(() => service.close());
  const html = (url: string) => service.send('GET', url, undefined, { accept: BROWSER });

  it('is for browsers; programs get what they got before', async () => {
    const shown = await html('/');
    expect(shown).toMatchObject({ status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } });
    for (const accept of ['application/json', '*/*', undefined]) {
      expectProblem(await service.send('GET', '/', undefined, accept ? { accept } : {}), 'NOT_FOUND');
    }
  });

  it('allows nothing that is not of the service', async () => {
    const policy = String((await html('/')).headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toMatch(/unsafe|\*|data:|https?:/);
  });

  it.each(['/', '/q/q_1'])('at %s names what it loads by relative paths, and all of that is there', async url => {
    const { body } = await html(url);
    const paths = [...String(body).matchAll(/(?:href|src)="([^"]+)"/g)].map(([, path]) => path as string);
    expect(paths.length).toBeGreaterThan(20);
    for (const path of paths) {
      expect(path).toMatch(/^\.\.?\//);
      const { status, headers } = await service.send('GET', new URL(path, `http://localhost${url}`).pathname);
      expect({ path, status }).toEqual({ path, status: 200 });
      expect(headers['cache-control']).toBe('public, max-age=31536000, immutable');
    }
  });

  it('loads at most 100 kB, compressed', async () => {
    const { body } = await html('/');
    const paths = new Set([...String(body).matchAll(/(?:href|src)="\.([^"]+)"/g)].map(([, path]) => path as string));
    let bytes = 0;
    for (const url of paths) {
      const { rawPayload, headers } = await service.app.inject({ url, headers: { 'accept-encoding': 'gzip' } });
      expect(headers['content-encoding']).toBe('gzip');
      bytes += rawPayload.length;
      // An import that no path names would load more.
      const text = gunzipSync(rawPayload).toString();
      for (const [, name] of text.matchAll(/^(?:import|export)[^;]* from ["']([^"']+)["']/gm))
        expect(name).toMatch(/^\./);
    }
    expect(bytes).toBeLessThan(100_000);
  });

  it('has no other files', async () => {
    const { body } = await html('/');
    const [, root] = /\.\/assets\/([^/]+)\//.exec(String(body)) ?? [];
    for (const path of [
      `${root}/page/routes.ts`,
      `${root}/page/web/tsconfig.json`,
      `${root}/../../package.json`,
      'x/page/web/main.ts',
    ]) {
      expect((await service.send('GET', `/assets/${path}`)).status).toBe(404);
    }
  });

  it('needs no login while the service has no tokens', async () => {
    expectProblem(await service.send('POST', '/page/links'), 'FORBIDDEN');
    expectProblem(await service.send('POST', '/page/session'), 'FORBIDDEN');
  });
});

describe.each(engines)('a login on %s', engine => {
  let service: TestApp;
  let tokens: Tokens;
  const clock = new ManualClock();
  beforeAll(async () => {
    service = await startApp(engine, { overrides: { clock } });
    tokens = await withTokens(service);
  });
  afterAll(() => service.close());

  const cookieOf = (headers: Record<string, unknown>) => String(headers['set-cookie']).split(';')[0] as string;
  const linkOf = async (token: string) => {
    const { status, body } = await service.send('POST', '/page/links', undefined, bearer(token));
    expect(status).toBe(201);
    return String(body.path).replace('/#login=', '');
  };
  const logIn = (code: string) => service.send('POST', '/page/login', { code }, page);
  const me = (cookie: string, headers: Record<string, string> = page) =>
    service.send('GET', '/me', undefined, { ...headers, cookie });
  const operator = () => tokens.issue({ role: 'operator', actor: people.operator });

  it('by a link works once, within a minute', async () => {
    const { token } = await operator();
    const code = await linkOf(token);
    const first = await logIn(code);
    expect(first).toMatchObject({ status: 200, body: { role: 'operator', name: 'ana' } });
    expect(first.headers['set-cookie']).toMatch(
      /^forumbus_4010=[\w-]{43}; Path=\/; Max-Age=2592000; HttpOnly; SameSite=Strict$/,
    );
    expectProblem(await logIn(code), 'UNAUTHORIZED');
    expect((await me(cookieOf(first.headers))).body).toMatchObject({ access: 'token', role: 'operator', name: 'ana' });
    const late = await linkOf(token);
    clock.advance(60_000);
    expectProblem(await logIn(late), 'UNAUTHORIZED');
    expectProblem(await logIn('x'.repeat(43)), 'UNAUTHORIZED');
  });

  it('by a link that two browsers use at once lets one in', async () => {
    const code = await linkOf((await operator()).token);
    const statuses = (await Promise.all([logIn(code), logIn(code), logIn(code)])).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 401, 401]);
  });

  it('by a token, and secure where the browser says https', async () => {
    const { token } = await operator();
    const headers = { ...page, ...bearer(token), origin: 'https://forumbus.example.org' };
    const { status, headers: answered } = await service.send('POST', '/page/session', undefined, headers);
    expect(status).toBe(200);
    expect(answered['set-cookie']).toMatch(/; Secure$/);
    expect((await me(cookieOf(answered))).status).toBe(200);
  });

  it('is not for agents', async () => {
    const { token } = await tokens.issue({ role: 'agent', runs: '*', agents: '*' });
    for (const path of ['/page/links', '/page/session']) {
      expectProblem(await service.send('POST', path, undefined, bearer(token)), 'FORBIDDEN');
    }
  });

  it('ends with its token, in 30 days, and when the person signs out', async () => {
    const opened = async () => {
      const issued = await operator();
      const { headers } = await logIn(await linkOf(issued.token));
      return { issued, cookie: cookieOf(headers) };
    };
    const revoked = await opened();
    await tokens.revoke(revoked.issued);
    expectProblem(await me(revoked.cookie), 'UNAUTHORIZED');
    const left = await opened();
    const gone = await service.send('DELETE', '/page/session', undefined, { ...page, cookie: left.cookie });
    expect(gone).toMatchObject({ status: 200, body: { logged_out: true, next: null } });
    expect(gone.headers['set-cookie']).toMatch(/^forumbus_4010=; Path=\/; Max-Age=0;/);
    expectProblem(await me(left.cookie), 'UNAUTHORIZED');
    const old = await opened();
    clock.advance(30 * 86_400_000);
    expectProblem(await me(old.cookie), 'UNAUTHORIZED');
  });

  it('ends its streams when the person signs out, and no others of its token', async () => {
    const { token } = await operator();
    const origin = `http://127.0.0.1:${await listen(service.app)}`;
    const opened = async () => {
      const { headers } = await service.send('POST', '/page/session', undefined, { ...page, ...bearer(token) });
      const as = { ...page, cookie: cookieOf(headers) };
      const stream = await openStream(origin, '', undefined, as);
      await stream.frame();
      return { as, stream };
    };
    const [left, other] = [await opened(), await opened()];
    await service.send('DELETE', '/page/session', undefined, left.as);
    for (;;) if ((await left.stream.frame()) === undefined) break;
    const { body } = await tokens.admin('POST', '/threads', { title: 'Hello', body: 'Hello.' });
    for (;;) if ((await other.stream.event()).thread_id === body.thread_id) break;
    other.stream.leave();
  });

  it('is for the page of the service only', async () => {
    const { headers } = await logIn(await linkOf((await operator()).token));
    const cookie = cookieOf(headers);
    const thread = { title: 'Hello', body: 'Hello.' };
    const open = (more: Record<string, string>) =>
      service.send('POST', '/threads', thread, { host: 'localhost:4010', cookie, ...more });
    expect((await open(page)).status).toBe(201);
    expect((await open({ 'x-forumbus-page': '1', origin: 'http://localhost:4010' })).status).toBe(201);
    for (const foreign of [
      {},
      { 'x-forumbus-page': '1' },
      { 'sec-fetch-site': 'same-origin' },
      { ...page, 'sec-fetch-site': 'same-site' },
      { ...page, 'sec-fetch-site': 'cross-site' },
      { ...page, 'sec-fetch-site': 'none' },
      { 'x-forumbus-page': '1', origin: 'http://localhost:4011' },
      { 'x-forumbus-page': '1', origin: 'null' },
    ] as Record<string, string>[]) {
      expectProblem(await open(foreign), 'ORIGIN_NOT_ALLOWED');
    }
    expect((await me(cookie, { host: 'localhost:4010', 'sec-fetch-site': 'none' })).status).toBe(200);
    expectProblem(await me(cookie, { host: 'localhost:4010', 'sec-fetch-site': 'same-site' }), 'ORIGIN_NOT_ALLOWED');
    // A cookie of a service at another port.
    expectProblem(await me(cookie, { ...page, host: 'localhost:4011' }), 'UNAUTHORIZED');
  });

  it('names its token in events, and no secret in the database or in answers', async () => {
    const issued = await operator();
    const { headers } = await logIn(await linkOf(issued.token));
    const { body } = await service.send(
      'POST',
      '/threads',
      { title: 'Hello', body: 'Hello.' },
      { ...page, cookie: cookieOf(headers) },
    );
    const events = await tokens.admin('GET', `/events?thread_id=${body.thread_id}`);
    expect(events.body.items[0]).toMatchObject({ token_id: issued.token_id, actor: people.operator });
  });
});
