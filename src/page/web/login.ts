import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import { Failure } from './parts.ts';
import { sentenceOf } from './service.ts';
import { logIn } from './session.ts';

/** For people without a login: a link from the command line, or a token. */
export function Login() {
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const enter = async (event: SubmitEvent) => {
    event.preventDefault();
    const token = new FormData(event.target as HTMLFormElement).get('token');
    setBusy(true);
    setError(undefined);
    await logIn(String(token).trim()).catch(failure => setError(sentenceOf(failure)));
    setBusy(false);
  };
  return html`<main class="login" id="main">
    <h1>Log in to Forumbus</h1>
    <p>On the machine of your token, the command <code>forumbus open</code> prints a link that logs this browser in.</p>
    <form onSubmit=${enter}>
      <label for="token">Or paste a token of a viewer, operator or admin</label>
      <input id="token" name="token" type="password" autocomplete="current-password" required spellcheck=${false} />
      <${Failure} error=${error} />
      <button class="btn primary" disabled=${busy}>Log in</button>
    </form>
  </main>`;
}
