import * as client from 'openid-client';
import type { Caller } from '../access/caller.ts';
import { type Access, signedOnAdmin } from '../access/service.ts';
import type { Clock } from '../clock.ts';
import type { Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { Logger } from '../logging.ts';
import type { LoginService } from '../page/logins.ts';
import { type Flow, seal, unseal } from './flow.ts';
import { type Person, personOfClaims } from './person.ts';
import { createProvider, ProviderRefusal } from './provider.ts';
import { callbackOf, type OidcSettings } from './settings.ts';

/** How long a person may take at the provider. Milliseconds. */
export const FLOW_MS = 600_000;
/** How long a login lasts. Milliseconds. */
export const LOGIN_MS = 43_200_000;
/** Characters. Browsers keep cookies of up to 4096 bytes. */
const LONGEST_VIEW = 1000;

interface Dependencies {
  settings: OidcSettings;
  clock: Clock;
  access: Pick<Access, 'issue' | 'authenticateById' | 'deleteSignedOn'>;
  logins: Pick<LoginService, 'createSession'>;
  /** 32 bytes, the same in all processes of a database. */
  key: () => Promise<Uint8Array>;
  log: Logger;
}

export type SingleSignOn = ReturnType<typeof createSingleSignOn>;

/**
 * Logs people in by an OpenID provider: authorization code, PKCE, state and nonce. Nothing of a login that has begun is kept
 * here: the browser holds it sealed. A login is a token of twelve hours with a session of the page.
 */
export function createSingleSignOn({ settings, clock, access, logins, key, log }: Dependencies) {
  const { publicUrl } = settings;
  const provider = createProvider(settings);
  const url = `${publicUrl}/page/login/oidc`;
  const home = `${publicUrl}/`;
  const callback = callbackOf(settings);

  return {
    /** Where a browser begins; `?view=` is the fragment of the page to come back to. */
    url,
    /** To which the provider sends browsers. */
    callback,
    /** The page of people. */
    home,
    /** Where a browser goes on that has logged out here. */
    logoutUrl: `${publicUrl}/page/logout/oidc`,

    /** Where a person can log out at the provider, or the page if it has no such place. @throws Refusal SERVICE_UNAVAILABLE */
    logOutAt: async (): Promise<string> => (await logged(provider.logoutPage(callback)))?.href ?? home,

    /**
     * Begins a login.
     * @returns the page of the provider, and what the browser keeps until it comes back
     * @throws Refusal SERVICE_UNAVAILABLE
     */
    async begin(view: unknown): Promise<{ page: URL; kept: string }> {
      const flow: Flow = {
        state: client.randomState(),
        nonce: client.randomNonce(),
        verifier: client.randomPKCECodeVerifier(),
        // A fragment leads nowhere but into the page. One without a slash could be a login link.
        view: typeof view === 'string' && view.startsWith('/') && view.length <= LONGEST_VIEW ? view : '',
      };
      const page = await logged(provider.pageFor(flow, callback));
      return { page, kept: await seal(flow, await key(), clock.now() + FLOW_MS) };
    },

    /**
     * Takes the answer of the provider.
     * @param search the query of the callback
     * @param kept by the browser
     * @returns who has logged in, and where to go
     * @throws Refusal UNAUTHORIZED if this browser has not begun it lately, or the provider did not log the person in.
     * FORBIDDEN if the settings let the person not in; SERVICE_UNAVAILABLE
     */
    async finish(search: string, kept: string | undefined): Promise<{ person: Person; location: string }> {
      const flow = kept === undefined ? undefined : await unseal(kept, await key(), clock.now());
      const answer = new URL(callback);
      answer.search = search;
      if (!flow || answer.searchParams.get('state') !== flow.state) {
        throw new Refusal(
          'UNAUTHORIZED',
          'This login has not begun in this browser, is over, or is too old; log in again.',
        );
      }
      const person = personOfClaims(await logged(provider.claimsOf(answer, flow)), settings);
      const { sub, role, actor } = person;
      if (role === undefined) {
        log.info({ sub, actor }, 'single sign-on: nobody has given this person a role');
        throw new Refusal('FORBIDDEN', `${actor.name} may not use this service: ask its operator for a role.`);
      }
      const target = new URL(home);
      target.hash = flow.view;
      return { person, location: target.href };
    },

    /** Makes the token of a person who may come in, and a session of it. */
    async logIn(tx: Tx, { sub, role, actor }: Person): Promise<{ secret: string; caller: Caller }> {
      if (role === undefined) throw new Error('A person without a role has no login.');
      const wanted = { role, actor, expires_in_seconds: LOGIN_MS / 1000 };
      const { token_id } = await access.issue(tx, wanted, signedOnAdmin(sub));
      const held = { token_id, secret_number: 0 };
      const { secret } = await logins.createSession(tx, held);
      await access.deleteSignedOn(tx);
      return { secret, caller: await access.authenticateById(tx, held) };
    },
  };

  /** Logs why the provider did not grant something. */
  function logged<T>(asked: Promise<T>): Promise<T> {
    return asked.catch(error => {
      if (error instanceof ProviderRefusal)
        log.warn({ code: error.code, reason: error.reason }, 'single sign-on failed');
      throw error;
    });
  }
}
