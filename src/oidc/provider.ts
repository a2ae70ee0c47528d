import * as client from 'openid-client';
import { textOf } from '../error-text.ts';
import { Refusal } from '../errors.ts';
import type { Flow } from './flow.ts';
import { type IdTokenClaims, namesGroups } from './person.ts';
import type { OidcSettings } from './settings.ts';

/** Of each request to the provider. Seconds. */
const TIMEOUT_SECONDS = 10;
/** Of each of its answers. Bytes. */
const MOST_BYTES = 262_144;
/** By which the clocks of both may differ. Seconds. */
const CLOCK_TOLERANCE = 60;

/** A subject (OpenID Connect Core 1.0, 2). */
const SUBJECT = /^[\x20-\x7e]{1,255}$/;

/**
 * Codes of the library for a login that came and proves nothing. Its form, a claim, a time, a key or a signature is
 * wrong.
 */
const PROVES_NOTHING = ['JWT_CLAIM_COMPARISON_FAILED', 'JWT_TIMESTAMP_CHECK_FAILED', 'JSON_ATTRIBUTE_COMPARISON_FAILED']
  .concat(['KEY_SELECTION_FAILED', 'UNSUPPORTED_OPERATION', 'INVALID_RESPONSE', 'PARSE_ERROR'])
  .map(code => `OAUTH_${code}`);
/** Errors with which a provider says that it cannot answer now (RFC 6749, 4.1.2.1). */
const ITS_FAULT = ['server_error', 'temporarily_unavailable'];

/** What the provider did not grant. `reason` is for the log. */
export class ProviderRefusal extends Refusal {
  readonly reason: string;

  constructor(code: 'UNAUTHORIZED' | 'SERVICE_UNAVAILABLE', detail: string, reason: string) {
    super(code, detail);
    this.reason = reason;
  }
}

/**
 * The OpenID provider. Its metadata and keys are read anew for each login, since they change and logins are rare.
 * Logins at once share a read.
 */
export function createProvider(settings: OidcSettings) {
  const { issuer, clientId, clientSecret } = settings;
  const scope = (offered: string[] | undefined) =>
    // Some providers refuse a scope that they do not know.
    ['openid', 'profile', 'email', ...(namesGroups(settings) && offered?.includes('groups') ? ['groups'] : [])].join(
      ' ',
    );
  let reading: Promise<client.Configuration> | undefined;

  /** @throws ProviderRefusal SERVICE_UNAVAILABLE */
  function discover(): Promise<client.Configuration> {
    reading ??= read()
      .catch(unavailable)
      .finally(() => {
        reading = undefined;
      });
    return reading;
  }

  async function read(): Promise<client.Configuration> {
    const insecure = issuer.protocol === 'http:' ? [client.allowInsecureRequests] : [];
    const found = await client.discovery(
      issuer,
      clientId,
      { [client.clockTolerance]: CLOCK_TOLERANCE },
      clientSecret === '' ? client.None() : withSecret(clientSecret),
      {
        timeout: TIMEOUT_SECONDS,
        [client.customFetch]: fetchBounded,
        // The library would take the word of TLS for the signature of an ID token.
        execute: [client.enableNonRepudiationChecks, ...insecure],
      },
    );
    // The library lets some providers name another issuer, for the people of all of their customers.
    const named = found.serverMetadata().issuer;
    if (new URL(named).href !== issuer.href) throw new Error(`The provider calls itself ${named}.`);
    return found;
  }

  return {
    /** Looks whether the provider answers. @throws ProviderRefusal SERVICE_UNAVAILABLE */
    check: async (): Promise<void> => void (await discover()),

    /** The page of the provider at which a person logs in. @throws ProviderRefusal SERVICE_UNAVAILABLE */
    async pageFor({ state, nonce, verifier }: Flow, redirectUri: string): Promise<URL> {
      const configuration = await discover();
      return client.buildAuthorizationUrl(configuration, {
        redirect_uri: redirectUri,
        scope: scope(configuration.serverMetadata().scopes_supported),
        state,
        nonce,
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
      });
    },

    /**
     * The page of the provider at which a person can log out; undefined if it has none. It asks, since nothing here proves
     * who wants that (OpenID Connect RP-Initiated Logout 1.0, 2).
     * @throws ProviderRefusal SERVICE_UNAVAILABLE
     */
    async logoutPage(redirectUri: string): Promise<URL | undefined> {
      const configuration = await discover();
      if (!configuration.serverMetadata().end_session_endpoint) return undefined;
      return client.buildEndSessionUrl(configuration, { post_logout_redirect_uri: redirectUri });
    },

    /**
     * Exchanges the code for what the provider says of the person.
     * @param url to which the provider has sent the browser
     * @throws ProviderRefusal UNAUTHORIZED if it has not logged the person in, or its answer proves nothing.
     * SERVICE_UNAVAILABLE if it does not answer as it should
     */
    async claimsOf(url: URL, { state, nonce, verifier }: Flow): Promise<IdTokenClaims> {
      const configuration = await discover();
      try {
        const checks = {
          pkceCodeVerifier: verifier,
          expectedState: state,
          expectedNonce: nonce,
          idTokenExpected: true,
        };
        const tokens = await client.authorizationCodeGrant(configuration, url, checks);
        const proved = tokens.claims() as client.IDToken;
        if (!SUBJECT.test(proved.sub)) throw badSubject();
        // With a code, claims of the scopes are there (OpenID Connect Core 1.0, 5.4).
        const told = configuration.serverMetadata().userinfo_endpoint
          ? await client.fetchUserInfo(configuration, tokens.access_token, proved.sub)
          : {};
        // An address and whether it is verified belong together.
        const { email, email_verified } = 'email' in proved ? proved : (told as Partial<client.UserInfoResponse>);
        return { ...told, ...proved, email, email_verified };
      } catch (error) {
        return refuse(error);
      }
    },
  };
}

/** Sends the secret as the provider takes it; without a word of it, in the header (OpenID Connect Discovery 1.0, 3). */
function withSecret(secret: string): client.ClientAuth {
  const [basic, post] = [client.ClientSecretBasic(secret), client.ClientSecretPost(secret)];
  return (server, ...request) => {
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
    return (methods.includes('client_secret_basic') ? basic : post)(server, ...request);
  };
}

/** Follows no redirects, and reads no more than {@link MOST_BYTES}. */
const fetchBounded: client.CustomFetch = async (url, options) => {
  const response = await fetch(url, { ...options, redirect: 'manual' } as RequestInit);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MOST_BYTES) throw new Error(`The answer of the provider has more than ${MOST_BYTES} bytes.`);
  }
  const { status, headers } = response;
  return new Response(length === 0 ? null : Buffer.concat(chunks), { status, headers });
};

function badSubject(): Error {
  const error = new Error('The subject is no ASCII text of up to 255 characters.');
  return Object.assign(error, { code: 'OAUTH_INVALID_RESPONSE' });
}

/** Refuses a login for which the provider answers. @throws ProviderRefusal */
function refuse(error: unknown): never {
  const { code = '', error: said = '' } = error as { code?: string; error?: string };
  const refused = (detail: string) => new ProviderRefusal('UNAUTHORIZED', detail, reasonOf(error));
  if (error instanceof client.AuthorizationResponseError && !ITS_FAULT.includes(said)) {
    const word = /^[\w.-]{1,60}$/.test(said) ? ` (${said})` : '';
    throw refused(`The identity provider has not logged you in${word}.`);
  }
  if (said === 'invalid_grant') throw refused('This login has been used or is too old; log in again.');
  if (PROVES_NOTHING.includes(code)) {
    throw refused('The identity provider has sent a login that is not valid; the log of the service says why.');
  }
  return unavailable(error);
}

/** @throws ProviderRefusal SERVICE_UNAVAILABLE */
function unavailable(error: unknown): never {
  const detail =
    'Single sign-on does not work now: the identity provider does not answer as it should. A token still lets you in.';
  throw new ProviderRefusal('SERVICE_UNAVAILABLE', detail, reasonOf(error));
}

/** Messages and codes alone: what is attached to errors of the library holds tokens. */
function reasonOf(error: unknown): string {
  const texts: string[] = [];
  for (let next = error; next instanceof Error && texts.length < 5; next = next.cause) {
    const { message, code, error: said, error_description: description } = next as Error & Record<string, unknown>;
    texts.push(
      textOf({ message, code: [code, said, description].filter(part => typeof part === 'string').join(', ') }),
    );
  }
  return texts.join('; caused by: ') || textOf(error);
}
