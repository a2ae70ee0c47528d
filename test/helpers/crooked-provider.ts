import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { onTestFinished } from 'vitest';

/** What an OpenID provider answers, each in its own way. */
interface Answers {
  discovery: (response: ServerResponse, metadata: Record<string, unknown>) => void;
  /** The ID token of a login. */
  idToken: (claims: JWTPayload) => Promise<string>;
  userinfo: () => unknown;
}

type SentRequest = { path: string; authorization: string | undefined; body: URLSearchParams };

/** An OpenID provider on loopback that may lie. It logs nobody in: any code counts. */
export async function crookedProvider(answers: Partial<Answers> = {}) {
  let pair = await generateKeyPair('RS256');
  let kid = 1;
  let nonce = '';
  const requests: SentRequest[] = [];
  const json = (response: ServerResponse, value: unknown) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(value));
  };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { url: path = '', headers } = request;
    requests.push({ path, authorization: headers.authorization, body: new URLSearchParams(body) });
    const metadata = {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/keys`,
      ...(answers.userinfo && { userinfo_endpoint: `${issuer}/me` }),
    };
    if (path.startsWith('/.well-known/')) {
      return answers.discovery ? answers.discovery(response, metadata) : json(response, metadata);
    }
    if (path === '/keys') return json(response, { keys: [{ ...(await exportJWK(pair.publicKey)), kid: String(kid) }] });
    if (path === '/me') return json(response, answers.userinfo?.());
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, aud: 'forumbus', sub: 'u1', nonce, iat: now, exp: now + 300 };
    const id_token = await (answers.idToken ?? provider.sign)(claims);
    json(response, { access_token: 'at', token_type: 'Bearer', ...(id_token && { id_token }) });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise(resolve => server.close(resolve));
  });
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = {
    issuer,
    /** All that it was asked. */
    requests,
    sign: (claims: JWTPayload, key: CryptoKey = pair.privateKey) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: String(kid) }).sign(key),
    unsigned: async (claims: JWTPayload) => new UnsecuredJWT(claims).encode(),
    /** Signs with another key from now on. */
    async rotate() {
      pair = await generateKeyPair('RS256');
      kid += 1;
    },
    /** The nonce of its next ID token. */
    expect(value: string) {
      nonce = value;
    },
  };
  return provider;
}
