import { generateKeyPair, type JWTPayload } from 'jose';
import { describe, expect, it } from 'vitest';
import type { Flow } from '../../src/oidc/flow.ts';
import { createProvider, ProviderRefusal } from '../../src/oidc/provider.ts';
import { crookedProvider } from '../helpers/crooked-provider.ts';

const CALLBACK = 'https://forum.example.org/page/login/oidc/callback';
const flow: Flow = { state: 's'.repeat(43), nonce: 'n'.repeat(43), verifier: 'v'.repeat(43), view: '' };
type Crooked = Awaited<ReturnType<typeof crookedProvider>>;

const providerOf = ({ issuer }: Pick<Crooked, 'issuer'>, more: object = {}) =>
  createProvider({
    ...{ issuer: new URL(issuer), clientId: 'forumbus', clientSecret: '', admins: [], operators: ['ops'], viewers: [] },
    ...{ publicUrl: 'https://forum.example.org', ...more },
  });

/** What a login tells. */
function claims(crooked: Crooked, provider = providerOf(crooked)) {
  crooked.expect(flow.nonce);
  const url = new URL(CALLBACK);
  url.search = new URLSearchParams({ code: 'any', state: flow.state }).toString();
  return provider.claimsOf(url, flow);
}

async function refusalOf(login: Promise<unknown>): Promise<ProviderRefusal> {
  const error = await login.then(
    value => new Error(`let in: ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ProviderRefusal)) throw error;
  return error;
}

describe('an ID token', () => {
  const seconds = () => Math.floor(Date.now() / 1000);

  it('that is right lets its person in', async () => {
    expect(await claims(await crookedProvider())).toMatchObject({ sub: 'u1' });
  });

  it.each<[string, (claims: JWTPayload, crooked: Crooked) => Promise<string>]>([
    ['of another client', (said, { sign }) => sign({ ...said, aud: 'other' })],
    ['of several clients, made for another', (said, { sign }) => sign({ ...said, aud: ['forumbus', 'b'], azp: 'b' })],
    ['of another issuer', (said, { sign }) => sign({ ...said, iss: 'https://evil.example' })],
    ['of another login', (said, { sign }) => sign({ ...said, nonce: 'x'.repeat(43) })],
    ['of no login', ({ nonce: _, ...said }, { sign }) => sign(said)],
    ['that ended 90 s ago', (said, { sign }) => sign({ ...said, exp: seconds() - 90 })],
    ['that begins in 90 s', (said, { sign }) => sign({ ...said, nbf: seconds() + 90 })],
    ['without an end', ({ exp: _, ...said }, { sign }) => sign(said)],
    ['without a subject', ({ sub: _, ...said }, { sign }) => sign(said)],
    ['with a subject that is no ASCII', (said, { sign }) => sign({ ...said, sub: 'u\u0000' })],
    ['without a signature', (said, { unsigned }) => unsigned(said)],
    [
      'with the signature of somebody else',
      async (said, { sign }) => sign(said, (await generateKeyPair('RS256')).privateKey),
    ],
    ['that is missing', async () => ''],
    ['that is none', async () => 'a.b.c'],
  ])('%s is refused, and the log says why', async (_case, idToken) => {
    const crooked: Crooked = await crookedProvider({ idToken: said => idToken(said, crooked) });
    const refusal = await refusalOf(claims(crooked));
    expect(refusal.code).toBe('UNAUTHORIZED');
    expect(refusal.reason).toMatch(/OAUTH_/);
    expect(refusal.message).toMatch(/not valid/);
  });

  it.each<[string, (claims: JWTPayload) => JWTPayload]>([
    ['that ended 50 s ago', said => ({ ...said, exp: seconds() - 50 })],
    ['that begins in 50 s', said => ({ ...said, nbf: seconds() + 50, iat: seconds() + 50 })],
  ])('%s is taken: clocks differ', async (_case, change) => {
    const crooked: Crooked = await crookedProvider({ idToken: said => crooked.sign(change(said)) });
    expect(await claims(crooked)).toMatchObject({ sub: 'u1' });
  });

  it('is taken with a key that is a moment old', async () => {
    const crooked = await crookedProvider();
    const provider = providerOf(crooked);
    await claims(crooked, provider);
    await crooked.rotate();
    expect(await claims(crooked, provider)).toMatchObject({ sub: 'u1' });
  });
});

describe('what the provider tells beside it', () => {
  const told = { sub: 'u1', email: 'ana@example.org', email_verified: true, groups: ['ops'] };

  it('completes it', async () => {
    expect(await claims(await crookedProvider({ userinfo: () => told }))).toMatchObject(told);
  });

  it('verifies no other address', async () => {
    const crooked: Crooked = await crookedProvider({
      userinfo: () => told,
      idToken: said => crooked.sign({ ...said, email: 'mallory@example.org' }),
    });
    const read = await claims(crooked);
    expect(read).toMatchObject({ email: 'mallory@example.org', groups: ['ops'] });
    expect(read.email_verified).toBeUndefined();
  });

  it('of somebody else is refused', async () => {
    const crooked = await crookedProvider({ userinfo: () => ({ ...told, sub: 'u2' }) });
    expect((await refusalOf(claims(crooked))).code).toBe('UNAUTHORIZED');
  });
});

describe('a provider', () => {
  it.each<[string, Parameters<typeof crookedProvider>[0], RegExp]>([
    ['that is another', { discovery: (r, m) => json(r, { ...m, issuer: 'https://evil.example' }) }, /issuer/],
    [
      'that sends elsewhere',
      { discovery: r => r.writeHead(302, { location: 'https://evil.example/' }).end() },
      /status/,
    ],
    ['that fails', { discovery: r => r.writeHead(500).end('no') }, /status/],
    ['that speaks no JSON', { discovery: r => r.end('<html>') }, /content-type|JSON/],
    ['that never ends', { discovery: r => json(r, { fill: 'x'.repeat(300_000) }) }, /more than 262144 bytes/],
    ['that hangs up', { discovery: r => r.destroy() }, /socket|terminated|fetch failed/],
  ])('%s does not work, and the log says why', async (_case, answers, reason) => {
    const crooked = await crookedProvider(answers);
    for (const ask of [
      () => claims(crooked),
      () => providerOf(crooked).check(),
      () => providerOf(crooked).pageFor(flow, CALLBACK),
    ]) {
      const refusal = await refusalOf(ask());
      expect(refusal.code).toBe('SERVICE_UNAVAILABLE');
      expect(refusal.reason).toMatch(reason);
    }
  });

  it('that is silent is given up after ten seconds', { timeout: 30_000 }, async () => {
    const crooked = await crookedProvider({ discovery: () => {} });
    const begun = performance.now();
    expect((await refusalOf(providerOf(crooked).check())).reason).toContain('timed out');
    expect(performance.now() - begun).toBeLessThan(15_000);
  });

  it('is asked once by logins that begin at once', async () => {
    const crooked = await crookedProvider();
    const provider = providerOf(crooked);
    await Promise.all([1, 2, 3].map(() => provider.pageFor(flow, CALLBACK)));
    expect(crooked.requests).toHaveLength(1);
  });

  it.each([
    [undefined, 'client_secret_basic'],
    [['client_secret_post'], 'client_secret_post'],
    [['client_secret_post', 'client_secret_basic'], 'client_secret_basic'],
  ])('that takes secrets as %j gets it so, and the verifier', async (token_endpoint_auth_methods_supported, way) => {
    const crooked = await crookedProvider({
      discovery: (r, m) => json(r, { ...m, token_endpoint_auth_methods_supported }),
    });
    await claims(crooked, providerOf(crooked, { clientSecret: 'se cret' }));
    const asked = crooked.requests.find(({ path }) => path === '/token');
    expect(asked?.body.get('code_verifier')).toBe(flow.verifier);
    expect(asked?.body.get('redirect_uri')).toBe(CALLBACK);
    const basic = `Basic ${Buffer.from('forumbus:se+cret').toString('base64')}`;
    if (way === 'client_secret_post') expect(asked?.body.get('client_secret')).toBe('se cret');
    else expect(asked?.authorization).toBe(basic);
  });

  it.each([
    [['ops'], ['openid', 'groups'], 'openid profile email groups'],
    [['ops'], undefined, 'openid profile email'],
    [['@example.org'], ['openid', 'groups'], 'openid profile email'],
  ])('that gives %j of %j is asked for what it knows', async (operators, scopes_supported, scope) => {
    const crooked = await crookedProvider({ discovery: (r, m) => json(r, { ...m, scopes_supported }) });
    const page = await providerOf(crooked, { operators }).pageFor(flow, CALLBACK);
    const { code_challenge, ...asked } = Object.fromEntries(page.searchParams);
    expect(asked).toEqual({
      ...{ client_id: 'forumbus', response_type: 'code', redirect_uri: CALLBACK, scope },
      ...{ state: flow.state, nonce: flow.nonce, code_challenge_method: 'S256' },
    });
    expect(code_challenge).toMatch(/^[\w-]{43}$/);
    expect(page.href).not.toContain(flow.verifier);
  });
});

function json(response: import('node:http').ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(value));
}
