import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair } from 'jose';
import Provider, { type Configuration } from 'oidc-provider';

/** What a provider knows about somebody, by what that person types in. */
export type Accounts = Record<string, Record<string, unknown>>;

export const CLIENT = { id: 'forumbus', secret: 'of-the-client' };

/** A real OpenID provider on loopback, with a page that takes any name without a password. */
export interface OpenidProvider {
  issuer: string;
  /** Logs in as somebody at the page to which a browser was sent. @returns where the browser is sent back to */
  logIn(page: string, account: string): Promise<URL>;
  close(): Promise<void>;
}

export async function startOpenidProvider(
  redirectUri: string,
  accounts: Accounts,
  { host = '127.0.0.1', port = 0, isPublic = false }: { host?: string; port?: number; isPublic?: boolean } = {},
): Promise<OpenidProvider> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
  const issuer = `http://${host}:${(server.address() as AddressInfo).port}`;
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const provider = new Provider(issuer, configuration(redirectUri, accounts, isPublic, await exportJWK(privateKey)));
  const handle = provider.callback();
  server.on('request', async (request, response) => {
    if (!request.url?.startsWith('/interaction/')) return handle(request, response);
    if (request.method === 'POST') {
      const accountId = new URLSearchParams(await textOf(request)).get('login') ?? '';
      return provider.interactionFinished(request, response, { login: { accountId } });
    }
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(
      '<!doctype html><form method="post"><label>Login <input name="login"></label><button>Go</button></form>',
    );
  });
  return {
    issuer,
    async logIn(page, account) {
      const jar = new Map<string, string>();
      const visit = async (url: string, init: RequestInit = {}) => {
        const cookie = [...jar].map(pair => pair.join('=')).join('; ');
        const response = await fetch(url, { redirect: 'manual', ...init, headers: { cookie } });
        for (const set of response.headers.getSetCookie()) {
          const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(set) ?? [];
          jar.set(name, value);
        }
        const location = response.headers.get('location');
        if (location === null) throw new Error(`${url} answers ${response.status}: ${await response.text()}`);
        return new URL(location, url);
      };
      let at = await visit(page);
      if (at.pathname.startsWith('/interaction/')) {
        at = await visit(at.href, { method: 'POST', body: new URLSearchParams({ login: account }) });
      }
      while (at.origin === issuer) at = await visit(at.href);
      return at;
    },
    async close() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  };
}

function configuration(redirectUri: string, accounts: Accounts, isPublic: boolean, key: object): Configuration {
  return {
    clients: [
      {
        client_id: CLIENT.id,
        redirect_uris: [redirectUri],
        post_logout_redirect_uris: [redirectUri],
        ...(isPublic ? { token_endpoint_auth_method: 'none' } : { client_secret: CLIENT.secret }),
      },
    ],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['preferred_username'],
      groups: ['groups'],
    },
    cookies: { keys: ['test'] },
    features: {
      devInteractions: { enabled: false },
      // Its own page loads a font from elsewhere.
      rpInitiatedLogout: {
        logoutSource: async (context, form) => {
          const button = '<button form="op.logoutForm" name="logout" value="yes">Yes, sign me out</button>';
          context.body = `<!doctype html>${form}${button}`;
        },
      },
    },
    findAccount: (_context, sub) => ({ accountId: sub, claims: async () => ({ sub, ...accounts[sub] }) }),
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    jwks: { keys: [{ ...key, alg: 'RS256', use: 'sig' }] },
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    // Nobody is asked for consent.
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({
        clientId: oidc.client?.clientId,
        accountId: oidc.session?.accountId,
      } as never);
      grant.addOIDCScope('openid email profile groups');
      await grant.save();
      return grant;
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}
