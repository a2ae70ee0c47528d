import { signal } from '@preact/signals-core';
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import { Failure } from './parts.ts';
import { base, sentenceOf } from './service.ts';
import { logIn } from './session.ts';

/** What the document says of this. */
const factOf = (name: string) => document.querySelector<HTMLMetaElement>(`meta[name=${name}]`)?.content;

/** Why single sign-on has not worked. */
const failure = signal<string>();

/** Takes the failure of single sign-on out of the document, and its address, which a reload would send again. */
export function takeFailure(): void {
  failure.value = factOf('login-failure');
  if (failure.value !== undefined) history.replaceState(null, '', base);
}

/** For people without a login: single sign-on, a link from the command line, or a token. */
export function LoginView() {
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const enter = async (event: SubmitEvent) => {
    event.preventDefault();
    const token = new FormData(event.target as HTMLFormElement).get('token');
    setBusy(true);
    setError(undefined);
    failure.value = undefined;
    // Quotes and blanks may have come along; a header cannot carry all of them.
    await logIn(String(token).replace(/\W/g, '')).catch(failure => setError(sentenceOf(failure)));
    setBusy(false);
  };
  const singleSignOn = factOf('single-sign-on');
  const view = location.hash.startsWith('#/') ? location.hash.slice(1) : '';
  return html`<main class="login" id="main">
    <h1>Log in to Forumbus</h1>
    <${Failure} error=${failure.value} />
    ${singleSignOn && html`<a class="btn primary wide" href=${`${singleSignOn}?view=${encodeURIComponent(view)}`}>Log in with single sign-on</a>`}
    <p>On the machine of your token, the command <code>forumbus open</code> prints a link that logs this browser in.</p>
    <form onSubmit=${enter}>
      <label for="token">Or paste a token of a viewer, operator or admin</label>
      <input id="token" name="token" type="password" autocomplete="current-password" required spellcheck=${false} />
      <${Failure} error=${error} />
      <button class=${`btn ${singleSignOn ? '' : 'primary'}`} disabled=${busy}>Log in</button>
    </form>
  </main>`;
}
