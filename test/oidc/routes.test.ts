import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { maskTokens } from '../../src/logging.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { CLIENT, type OpenidProvider, startOpenidProvider } from '../helpers/openid-provider.ts';
import { freePort } from '../helpers/ports.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { bearer, firstToken } from '../helpers/tokens.ts';

const PUBLIC_URL = 'http://127.0.0.1:4010';
const BEGIN = '/page/login/oidc';
const CALLBACK = `${BEGIN}/callback`;
const HOUR = 3_600_000;
const HTML = { accept: 'text/html' };
const page = { host: '127.0.0.1:4010', 'sec-fetch-site': 'same-origin', 'x-forumbus-page': '1' };

const accounts = {
  u1: { email: 'Ana@Example.org', email_verified: true, preferred_username: 'root', groups: ['ops', 'all'] },
  u2: { preferred_username: 'vera', groups: ['all'] },
  u3: { email: 'mallory@evil.example', email_verified: true, groups: ['none'] },
  u5: { preferred_username: 'eve"><script>&lt;' },
  u6: { email: 'zoe@example.org', email_verified: true, groups: ['ops', 'root'] },
  u4: { email: 'ana@example.org', email_verified: false, preferred_username: 'ana@example.org' },
};
const ana = { type: 'human', name: 'ana@example.org' };

/** The cookies that an answer sets, as a browser sends them. */
const cookiesOf = (headers: Record<string, unknown>) =>
  [headers['set-cookie'] ?? []].flat().map(set => String(set).split(';')[0] as string);

/** What a page of a failed login says. */
const failureOf = (body: unknown) => /<meta name="login-failure" content="([^"]*)">/.exec(String(body))?.[1];

describe.each(engines)('single sign-on on %s', engine => {
  const clock = new ManualClock();
  let provider: OpenidProvider;
  let scratch: Scratch;
  let service: TestApp;
  let admin: { authorization: string };
  const settings = (more: Record<string, string> = {}) => ({
    PUBLIC_URL,
    OIDC_ISSUER: provider.issuer,
    OIDC_CLIENT_ID: CLIENT.id,
    OIDC_CLIENT_SECRET: CLIENT.secret,
    OIDC_ADMINS: 'root',
    OIDC_OPERATORS: 'ops',
    OIDC_VIEWERS: 'all, ana@example.org',
    ...more,
  });
  beforeAll(async () => {
    provider = await startOpenidProvider(PUBLIC_URL + CALLBACK, accounts);
    scratch = await scratchDatabase(engine);
    service = await startApp(engine, { database: scratch, overrides: { clock }, config: settings() });
  });
  afterAll(async () => {
    await service.close();
    await scratch.drop();
    await provider.close();
  });

  /** Up to the moment at which the provider sends the browser back. */
  async function begin(account: string, view = '', at = service, by = provider) {
    const begun = await at.send('GET', `${BEGIN}?view=${encodeURIComponent(view)}`, undefined, HTML);
    expect(begun.status).toBe(303);
    const back = await by.logIn(String(begun.headers.location), account);
    return { begun, back, path: back.pathname + back.search, cookie: cookiesOf(begun.headers)[0] as string };
  }
  const finish = (path: string, cookie: string, headers: Record<string, string> = HTML, at = service) =>
    at.send('GET', path, undefined, { host: page.host, cookie, ...headers });
  async function logIn(account: string, view?: string) {
    const { path, cookie } = await begin(account, view);
    const done = await finish(path, cookie);
    expect(done.status, String(done.body)).toBe(303);
    const session = cookiesOf(done.headers)[0] as string;
    return { done, session, as: { ...page, cookie: session } };
  }
  const me = (as: Record<string, string>) => service.send('GET', '/me', undefined, as);
  const tokens = async () => {
    admin ??= bearer((await firstToken(scratch.url)).token);
    return (await service.send('GET', '/tokens?limit=200', undefined, admin)).body.items;
  };

  it('is never open, also without a token', async () => {
    expectProblem(await service.send('GET', '/threads'), 'UNAUTHORIZED');
    expect((await service.send('GET', '/bus/health')).body.access).not.toBe('open');
    // Nobody comes in without a login, so it may listen anywhere.
    await (await startApp(engine, { config: settings({ HOST: '0.0.0.0' }) })).close();
  });

  it('lets an operator act under the verified address, and under no other name', async () => {
    const { done, as } = await logIn('u1', '/q/q_1');
    expect(done.headers.location).toBe(`${PUBLIC_URL}/#/q/q_1`);
    const [session, kept] = done.headers['set-cookie'] as string[];
    expect(session).toMatch(/^forumbus_4010=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/);
    expect(kept).toBe(`forumbus_oidc_4010=; Path=${CALLBACK}; Max-Age=0; HttpOnly; SameSite=Lax`);
    expect((await me(as)).body).toMatchObject({ access: 'token', role: 'operator', actor: ana });
    const asked = await service.send('POST', '/control-signals', signal('guidance_request', { run_id: 'r' }), as);
    const path = `/questions/${asked.body.question.question_id}/answer`;
    const other = { answer: 'No.', actor: { type: 'human', name: 'root' } };
    expectProblem(await service.send('PUT', path, other, as), 'ACTOR_MISMATCH');
    const answered = await service.send('PUT', path, { answer: 'Yes.' }, as);
    expect(answered.body).toMatchObject({ state: 'answered', answered_by: ana });
    expectProblem(await service.send('GET', '/tokens', undefined, as), 'FORBIDDEN');
  });

  it('lets an admin do what admins may, as long as the login lasts', async () => {
    const { as } = await logIn('u6');
    expect((await me(as)).body).toMatchObject({ role: 'admin', actor: { type: 'human', name: 'zoe@example.org' } });
    const { items } = (await service.send('GET', '/tokens?limit=200', undefined, as)).body;
    expect(items).toContainEqual(expect.objectContaining({ role: 'admin', created_by: 'oidc:u6', revoked_at: null }));
    expect((await service.send('DELETE', '/page/session', undefined, as)).status).toBe(200);
    expectProblem(await service.send('GET', '/tokens', undefined, as), 'UNAUTHORIZED');
  });

  it('lets a viewer look, and nobody else in', async () => {
    const { as } = await logIn('u2');
    expect((await me(as)).body).toMatchObject({ role: 'viewer', actor: { type: 'human', name: 'vera' } });
    expectProblem(await service.send('POST', '/threads', { title: 'T', body: 'B' }, as), 'FORBIDDEN');
    const before = (await tokens()).length;
    for (const [account, name] of [
      ['u3', 'mallory@evil.example'],
      // On the list by an address that nobody has verified.
      ['u4', 'ana@example.org'],
      ['u5', 'eve&quot;&gt;&lt;script&gt;&amp;lt;'],
    ] as const) {
      const shown = await begin(account).then(({ path, cookie }) => finish(path, cookie));
      expect(shown).toMatchObject({ status: 403, headers: { 'content-type': 'text/html; charset=utf-8' } });
      expect(failureOf(shown.body)).toBe(`${name} may not use this service: ask its operator for a role.`);
      expect(cookiesOf(shown.headers)).toEqual([]);
      const told = await begin(account).then(({ path, cookie }) => finish(path, cookie, {}));
      expectProblem(told, 'FORBIDDEN');
    }
    expect(await tokens()).toHaveLength(before);
  });

  it('makes a token of the login: listed, audited, revocable, and over after twelve hours', async () => {
    const { as, done } = await logIn('u1');
    const { token_id } = (await me(as)).body;
    const row = (await tokens()).find((token: { token_id: string }) => token.token_id === token_id);
    expect(row).toMatchObject({ role: 'operator', actor: ana, created_by: 'oidc:u1', runs: null });
    expect(Date.parse(row.expires_at) - clock.now()).toBe(12 * HOUR);
    const { items } = (await service.send('GET', `/audit?token_id=${token_id}`, undefined, admin)).body;
    expect(items).toMatchObject([
      { operation: `GET ${CALLBACK}`, status: 303, actor: ana, address: '127.0.0.1', resources: { token_id } },
    ]);
    expect(JSON.stringify(items)).not.toContain(cookiesOf(done.headers)[0]?.split('=')[1]);
    const events = await service.send('GET', '/events?order=newest&event_type=forum.token.created', undefined, admin);
    expect(events.body.items[0]).toMatchObject({
      actor: { type: 'system', name: 'oidc:u1' },
      payload: { token_id, role: 'operator', actor: ana },
    });
    const revoked = await logIn('u2');
    const other = (await me(revoked.as)).body.token_id;
    await service.send('POST', `/tokens/${other}/revoke`, undefined, admin);
    expectProblem(await me(revoked.as), 'UNAUTHORIZED');
    // A link for another browser ends as soon.
    const link = await service.send('POST', '/page/links', undefined, as);
    const code = String(link.body.path).replace('/#login=', '');
    const second = await service.send('POST', '/page/login', { code }, page);
    const there = { ...page, cookie: cookiesOf(second.headers)[0] as string };
    clock.advance(12 * HOUR - 1);
    expect((await me(as)).status).toBe(200);
    expect((await me(there)).status).toBe(200);
    clock.advance(1);
    expectProblem(await me(as), 'UNAUTHORIZED');
    expectProblem(await me(there), 'UNAUTHORIZED');
    // It is listed for a week, and the next login after that deletes it.
    clock.advance(7 * 24 * HOUR);
    await logIn('u2');
    expect((await tokens()).map((token: { token_id: string }) => token.token_id)).toContain(token_id);
    clock.advance(1);
    await logIn('u2');
    const left = await tokens();
    expect(left.map((token: { token_id: string }) => token.token_id)).not.toContain(token_id);
    expect(left.map((token: { created_by: string }) => token.created_by)).toContain('command');
  });

  it('gives each browser a login of its own; signing out ends that one and its token', async () => {
    const [first, second] = [await logIn('u1'), await logIn('u1')];
    const { token_id } = (await me(first.as)).body;
    expect((await service.send('DELETE', '/page/session', undefined, first.as)).status).toBe(200);
    expectProblem(await me(first.as), 'UNAUTHORIZED');
    expect((await me(second.as)).status).toBe(200);
    const row = (await tokens()).find((token: { token_id: string }) => token.token_id === token_id);
    expect(row.revoked_at).not.toBeNull();
    const events = await service.send('GET', '/events?order=newest&event_type=forum.token.revoked', undefined, admin);
    expect(events.body.items[0]).toMatchObject({ actor: ana, payload: { token_id } });
  });

  it('leads who signs out to the provider, which asks, and then back to the page', async () => {
    const { as } = await logIn('u1');
    const closed = await service.send('DELETE', '/page/session', undefined, as);
    expect(closed.body).toEqual({ logged_out: true, next: `${PUBLIC_URL}/page/logout/oidc` });
    const led = await service.send('GET', '/page/logout/oidc', undefined, HTML);
    const at = new URL(String(led.headers.location));
    expect([led.status, at.origin]).toEqual([303, provider.issuer]);
    expect(Object.fromEntries(at.searchParams)).toEqual({
      client_id: CLIENT.id,
      post_logout_redirect_uri: PUBLIC_URL + CALLBACK,
    });
    const asked = await fetch(at);
    expect([asked.status, await asked.text()]).toEqual([200, expect.stringContaining('/session/end/confirm')]);
    const back = await service.send('GET', CALLBACK, undefined, HTML);
    expect(back).toMatchObject({ status: 303, headers: { location: `${PUBLIC_URL}/` } });
    expect(cookiesOf(back.headers)).toEqual([]);
    // A login by a token has nothing to end there.
    await tokens();
    const opened = await service.send('POST', '/page/session', undefined, { ...page, ...admin });
    const cookie = cookiesOf(opened.headers)[0] as string;
    expect((await service.send('DELETE', '/page/session', undefined, { ...page, cookie })).body.next).toBeNull();
  });

  it('takes the answer of the provider once, in time, and in the browser that has begun', async () => {
    const [mine, other] = [await begin('u1'), await begin('u1')];
    const refused = async (path: string, cookie: string) => {
      const shown = await finish(path, cookie);
      expect(shown.status).toBe(401);
      expect(failureOf(shown.body)).toMatch(/log in again|not valid/);
      expect(cookiesOf(shown.headers)).toEqual([]);
      expectProblem(await finish(path, cookie, {}), 'UNAUTHORIZED');
    };
    await refused(mine.path, '');
    await refused(mine.path, other.cookie);
    await refused(mine.path, `${mine.cookie.slice(0, -2)}xx`);
    await refused(mine.path.replace(/state=[^&]+/, 'state=wrong'), mine.cookie);
    await refused(mine.path.replace(/&?state=[^&]+/, ''), mine.cookie);
    await refused(`${mine.path}&state=more`, mine.cookie);
    await refused(CALLBACK, mine.cookie);
    // A code of another login.
    const { state } = Object.fromEntries(mine.back.searchParams);
    await refused(other.path.replace(/state=[^&]+/, `state=${state}`), mine.cookie);
    const late = await begin('u1');
    clock.advance(600_000);
    await refused(late.path, late.cookie);
    const once = await begin('u1');
    expect((await finish(once.path, once.cookie)).status).toBe(303);
    await refused(once.path, once.cookie);
    // A request for the head alone takes no login.
    const head = await begin('u1');
    expect((await service.send('HEAD', head.path, undefined, { host: page.host, cookie: head.cookie })).status).toBe(
      405,
    );
    expect((await finish(head.path, head.cookie)).status).toBe(303);
  });

  it('says what the provider says when it logs nobody in', async () => {
    const answer = async (error: string) => {
      const { back, cookie } = await begin('u1');
      const state = back.searchParams.get('state');
      const query = new URLSearchParams({
        error,
        state: String(state),
        iss: provider.issuer,
        error_description: 'evil',
      });
      const { status, body } = await finish(`${CALLBACK}?${query}`, cookie);
      expect(String(body)).not.toContain('evil');
      return { status, said: failureOf(body) };
    };
    expect(await answer('access_denied')).toEqual({
      status: 401,
      said: 'The identity provider has not logged you in (access_denied).',
    });
    expect(await answer('call +1 555 0100 <b>')).toEqual({
      status: 401,
      said: 'The identity provider has not logged you in.',
    });
    expect((await answer('temporarily_unavailable')).status).toBe(503);
  });

  it('comes back to a view of the page, wherever a link wants to lead', async () => {
    for (const view of ['//evil.example', '/\\evil.example/%0d%0aX: y', '/"><script>']) {
      const { done } = await logIn('u1', view);
      const { origin, pathname, search } = new URL(String(done.headers.location));
      expect({ origin, pathname, search }).toEqual({ origin: PUBLIC_URL, pathname: '/', search: '' });
      expect(String(done.headers.location)).not.toMatch(/[\s<>"]/);
    }
    for (const view of ['https://evil.example', 'login=0Yc3', `/${'x'.repeat(2000)}`, '']) {
      expect((await logIn('u1', view)).done.headers.location).toBe(`${PUBLIC_URL}/`);
    }
  });

  it('may begin in one process and end in another, or after a restart', async () => {
    const begun = await begin('u1');
    await service.restart();
    expect((await finish(begun.path, begun.cookie)).status).toBe(303);
    if (engine === 'sqlite') return;
    const other = await startApp(engine, { database: scratch, overrides: { clock }, config: settings() });
    onTestFinished(() => other.close());
    const { path, cookie } = await begin('u2');
    const done = await finish(path, cookie, HTML, other);
    expect((await me({ ...page, cookie: cookiesOf(done.headers)[0] as string })).body.name).toBe('vera');
  });

  it('works below a path, behind a proxy with TLS, and without a secret', async () => {
    const url = 'https://forum.example.org/forumbus';
    const own = await startOpenidProvider(url + CALLBACK, accounts, { isPublic: true });
    onTestFinished(() => own.close());
    const below = { PUBLIC_URL: `${url}/`, BASE_PATH: '/forumbus', OIDC_ISSUER: own.issuer, OIDC_CLIENT_SECRET: '' };
    const at = await startApp(engine, { config: settings({ ...below, TRUST_PROXY: '127.0.0.1' }) });
    onTestFinished(() => at.close());
    const headers = { host: 'forum.example.org', 'x-forwarded-proto': 'https', 'x-forwarded-for': '192.0.2.7' };
    const document = await at.send('GET', '/forumbus/', undefined, { ...HTML, ...headers });
    expect(document.body).toContain(`<meta name="single-sign-on" content="${url}${BEGIN}">`);
    const begun = await at.send('GET', `/forumbus${BEGIN}?view=/runs`, undefined, { ...HTML, ...headers });
    expect(begun.headers['set-cookie']).toMatch(
      new RegExp(`^forumbus_oidc=[\\w.-]+; Path=/forumbus${CALLBACK}; Max-Age=600; HttpOnly; SameSite=Lax; Secure$`),
    );
    const back = await own.logIn(String(begun.headers.location), 'u1');
    expect(back.href.startsWith(`${url}${CALLBACK}?`)).toBe(true);
    const cookie = cookiesOf(begun.headers)[0] as string;
    const done = await finish(back.pathname + back.search, cookie, { ...HTML, ...headers }, at);
    expect(done).toMatchObject({ status: 303, headers: { location: `${url}/#/runs` } });
    const [session] = done.headers['set-cookie'] as string[];
    expect(session).toMatch(/^forumbus=[\w-]{43}; Path=\/forumbus; Max-Age=43200; HttpOnly; SameSite=Strict; Secure$/);
  });

  it('leaves the service to tokens while the provider is down', async () => {
    const port = await freePort();
    const own = await startOpenidProvider(PUBLIC_URL + CALLBACK, accounts, { port });
    const lines: string[] = [];
    const log = pino({ hooks: { streamWrite: maskTokens } }, { write: line => void lines.push(line) });
    const at = await startApp(engine, { config: settings({ OIDC_ISSUER: own.issuer }), log });
    onTestFinished(() => at.close());
    const { path, cookie } = await begin('u1', '', at, own);
    await own.close();
    // What this browser has not begun is refused without a word to the provider.
    const foreign = path.replace(/state=[^&]+/, 'state=wrong');
    expectProblem(await at.send('GET', foreign, undefined, { host: page.host, cookie }), 'UNAUTHORIZED');
    for (const [url, sent] of [
      [path, { cookie }],
      [BEGIN, {}],
      ['/page/logout/oidc', {}],
    ] as const) {
      const shown = await at.send('GET', url, undefined, { host: page.host, ...HTML, ...sent });
      expect(shown).toMatchObject({ status: 503, headers: { 'cache-control': 'no-store' } });
      expect(failureOf(shown.body)).toMatch(/^Single sign-on does not work now: .* A token still lets you in\.$/);
      expect(shown.headers['content-security-policy']).toContain("script-src 'self'");
      expectProblem(await at.send('GET', url, undefined, { host: page.host, ...sent }), 'SERVICE_UNAVAILABLE');
    }
    const { token } = await firstToken(at.url);
    expect((await at.send('POST', '/page/session', undefined, { ...page, ...bearer(token) })).status).toBe(200);
    // The log says why, and repeats no code.
    const text = lines.join('');
    expect(text).toMatch(/"msg":"single sign-on failed"/);
    expect(text).toContain('ECONNREFUSED');
    expect(text).toContain(`${CALLBACK}?***`);
    expect(text).not.toContain(new URLSearchParams(path.split('?')[1]).get('code'));
    const again = await startOpenidProvider(PUBLIC_URL + CALLBACK, accounts, { port });
    onTestFinished(() => again.close());
    const next = await begin('u1', '', at, again);
    expect((await finish(next.path, next.cookie, HTML, at)).status).toBe(303);
  });
});

describe('a service without an OpenID provider', () => {
  it('has neither a way to one nor a word about it', async () => {
    const service = await startApp('sqlite');
    onTestFinished(() => service.close());
    expectProblem(await service.send('GET', BEGIN, undefined, HTML), 'NOT_FOUND');
    expectProblem(await service.send('GET', CALLBACK, undefined, HTML), 'NOT_FOUND');
    expectProblem(await service.send('GET', '/page/logout/oidc', undefined, HTML), 'NOT_FOUND');
    expect((await service.send('GET', '/', undefined, HTML)).body).not.toContain('single-sign-on');
  });
});
