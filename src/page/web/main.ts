import '@preact/signals';
import { html, render } from 'htm/preact';
import { dropEnded, pending, sendAllNow } from './answers.ts';
import { pause } from './gather.ts';
import { onRenewal, snapshot, take, watchAround } from './inbox-store.ts';
import { listenToKeys } from './keys.ts';
import { follow, onEvent } from './live.ts';
import { LoginView, takeFailure } from './login.ts';
import { watchQuestions } from './notify.ts';
import { Empty } from './parts.ts';
import { watchPush } from './push.ts';
import { watchRoute } from './route.ts';
import { begin, chosenRun, isOfSeveral, me, SEND, tabs, takeCode } from './session.ts';
import { Shell } from './shell.ts';

/** How long after a failed start the page tries again. Milliseconds. */
const AGAIN_MS = 2000;

function App() {
  if (me.value === undefined) return html`<main><${Empty}>Loading…<//></main>`;
  return me.value === null ? html`<${LoginView} />` : html`<${Shell} />`;
}

/** Follows the log while somebody is logged in. */
function followWhileLoggedIn(): void {
  let ending: AbortController | undefined;
  const run = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      try {
        return await follow(snapshot, signal);
      } catch {
        // The banner says whether the service answers.
        await pause(AGAIN_MS);
      }
    }
  };
  let name: string | undefined;
  me.subscribe(person => {
    const next = person ? `${person.access} ${person.token_id}` : undefined;
    if (next === name) return;
    name = next;
    ending?.abort();
    ending = undefined;
    if (next === undefined || (isOfSeveral.value && chosenRun === '')) return;
    ending = new AbortController();
    void run(ending.signal);
  });
}

/** The tabs of a browser share its login. If it is another one, they begin anew, without what they were about to send. */
function watchLogin(): void {
  me.subscribe(person => {
    if (person !== undefined) tabs.postMessage(person?.token_id);
  });
  tabs.onmessage = ({ data }) => {
    if (data === SEND) return void sendAllNow();
    if (me.value === undefined || data === me.value?.token_id) return;
    pending.value = [];
    location.reload();
  };
}

async function start(): Promise<void> {
  const code = takeCode();
  takeFailure();
  watchRoute();
  listenToKeys();
  watchQuestions();
  watchPush();
  watchLogin();
  watchAround();
  onEvent(take);
  onRenewal(renewals => {
    for (const { question } of renewals) dropEnded(question);
  });
  addEventListener('pagehide', sendAllNow);
  // A login link that is opened in a tab of the page changes nothing but the fragment.
  addEventListener('hashchange', () => location.hash.startsWith('#login=') && location.reload());
  const root = document.getElementById('app') as HTMLElement;
  root.replaceChildren();
  render(html`<${App} />`, root);
  while (me.value === undefined) {
    await begin(code).catch(() => pause(AGAIN_MS));
  }
  followWhileLoggedIn();
}

void start();
