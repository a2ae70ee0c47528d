import { html } from 'htm/preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { sendAllNow } from './answers.ts';
import { pause } from './gather.ts';
import { allowNotifications } from './notify.ts';
import { Failure } from './parts.ts';
import { canPush, pushName, switchPushOff, switchPushOn } from './push.ts';
import { sentenceOf } from './service.ts';
import { logOut, mayAct, me, SEND, seesAll, tabs } from './session.ts';
import { settings } from './settings.ts';

/** In which other tabs begin to send. Milliseconds. */
const OTHERS_MS = 500;

const KEYS: [keys: string, act: string][] = [
  ['j k', 'next and previous question'],
  ['1–9', 'choose an option'],
  ['r', 'reply in words'],
  ['Ctrl Enter', 'send the words'],
  ['z', 'undo the last answer'],
  ['Enter', 'open the question'],
  ['h', 'hide it for an hour'],
  ['e', 'note that it expired'],
  ['a', 'take it, or give it back'],
  ['x', 'select it, to answer several at once'],
  ['/', 'search'],
  ['Esc', 'back'],
  ['g i', 'inbox'],
  ['g r', 'runs'],
  ['g a', 'agents'],
  ['g t', 'threads'],
  ['g d', 'deliveries'],
  ['g n', 'numbers'],
  ['?', 'this help'],
];

/** Keys and settings. */
export function Help({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const { shortcuts, notifications, sound, name } = settings;
  const setNotifications = async () => {
    notifications.value = !notifications.value && (await allowNotifications());
  };
  const [error, setError] = useState<string>();
  const setPush = async () => {
    try {
      if (pushName.value !== '') await switchPushOff();
      else if (await allowNotifications()) await switchPushOn();
      setError(undefined);
    } catch (failure) {
      setError(sentenceOf(failure));
    }
  };
  const signOut = async () => {
    tabs.postMessage(SEND);
    await Promise.all([sendAllNow(), switchPushOff().catch(() => {}), pause(OTHERS_MS)]);
    await logOut();
  };
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="help-title">
    <h2 id="help-title">Settings and keys</h2>
    <label class="check"><input type="checkbox" checked=${shortcuts.value} onChange=${() => {
      shortcuts.value = !shortcuts.value;
    }} /> Keys of one letter</label>
    <label class="check"><input type="checkbox" checked=${notifications.value} onChange=${() => void setNotifications()} /> Notifications of new questions</label>
    ${
      canPush &&
      mayAct.value &&
      seesAll.value &&
      html`<label class="check"><input type="checkbox" checked=${pushName.value !== ''} onChange=${() => void setPush()} /> Also while the page is closed</label>
    <${Failure} error=${error} />`
    }
    <label class="check"><input type="checkbox" checked=${sound.value} onChange=${() => {
      sound.value = !sound.value;
    }} /> A sound for new questions</label>
    ${
      me.value?.access === 'open' &&
      html`<label class="field">Your name, as agents see it
      <input defaultValue=${name.value} placeholder="operator" maxlength="200" onChange=${(event: Event) => {
        name.value = (event.target as HTMLInputElement).value;
      }} /></label>`
    }
    ${!mayAct.value && html`<p class="quiet">Your role is ${me.value?.role}: you can look and change nothing.</p>`}
    <dl class="keys">${KEYS.map(([keys, act]) => html`<dt>${keys.split(' ').map(key => html`<kbd>${key}</kbd> `)}</dt><dd>${act}</dd>`)}</dl>
    <div class="foot">
      <button type="button" class="btn primary" onClick=${() => dialog.current?.close()}>Close</button>
      ${me.value?.access === 'token' && html`<button type="button" class="btn" onClick=${() => void signOut()}>Sign out</button>`}
      <span class="right"><a href="docs/" target="_blank" rel="noopener">API</a></span>
    </div>
  </dialog>`;
}
