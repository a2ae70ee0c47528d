import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';
import { textOf, undo, undoable } from './answers.ts';
import { Help } from './help.ts';
import { openCount } from './inbox-store.ts';
import { useKeys } from './keys.ts';
import { Said } from './parts.ts';
import { go, route } from './route.ts';
import { RunChoice } from './run-choice.ts';
import { online, present } from './service.ts';
import { chosenRun, isAdmin, isOfSeveral, myName, seesAll } from './session.ts';
import { count, cut } from './text.ts';
import { viewOf } from './views.ts';

/** Views that the header does not name, and those to which they belong. */
const PARENTS: Record<string, string> = { '': 'inbox', q: 'inbox', history: 'inbox', webhooks: 'deliveries' };

/** Header, view, and what lies over them. */
export function Shell() {
  const [helps, setHelps] = useState(false);
  const { parts } = route.value;
  const section = PARENTS[parts[0] ?? ''] ?? parts[0];
  useKeys({
    'g i': () => go('#/'),
    'g r': () => go('#/runs'),
    'g a': () => go('#/agents'),
    'g t': () => go('#/threads'),
    'g d': () => go('#/deliveries'),
    'g n': () => go('#/numbers'),
    z: undo,
    '?': () => setHelps(true),
  });
  useEffect(() => {
    document.querySelector('main')?.scrollTo(0, 0);
    window.scrollTo(0, 0);
  }, [parts.join('/')]);
  // On a phone the names of the views are wider than the page.
  useEffect(() => {
    document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [section, String(openCount.value || '').length]);
  const link = (name: string, hash: string, number?: number) =>
    html`<a href=${hash} aria-current=${section === name.toLowerCase() ? 'page' : undefined}>${name}${number ? html` <i>${number}</i>` : ''}</a>`;
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header class="top"><b>Forumbus</b>
      <nav aria-label="Main">
        ${link('Inbox', '#/', openCount.value)}${link('Runs', '#/runs')}${link('Agents', '#/agents')}${link('Threads', '#/threads')}
        ${seesAll.value && html`${link('Deliveries', '#/deliveries')}${link('Numbers', '#/numbers')}`}${isAdmin.value && link('Tokens', '#/tokens')}
      </nav>
      <span class=${`live ${online.value ? '' : 'off'}`}>${online.value ? 'live' : 'offline'}<span class="name"> · <${Said} text=${myName.value} /></span></span>
      <button type="button" class="btn round" aria-label="Settings and keys" title="Settings and keys (?)" onClick=${() => setHelps(true)}>?</button>
    </header>
    ${!online.value && html`<p class="banner" role="status">The service does not answer. What you see may be old; the page goes on by itself.</p>`}
    <main id="main" tabindex="-1">${isOfSeveral.value && html`<${RunChoice} />`}${(!isOfSeveral.value || chosenRun !== '') && viewOf(parts)}</main>
    <${Announcer} />
    <${Toast} />
    ${helps && html`<${Help} close=${() => setHelps(false)} />`}`;
}

function skip(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

/** Says the number of open questions, once after several changes (WCAG 4.1.3). */
function Announcer() {
  const [text, setText] = useState('');
  const number = openCount.value;
  useEffect(() => {
    const timer = setTimeout(() => setText(number === 0 ? 'No open questions' : count(number, 'open question')), 1000);
    return () => clearTimeout(timer);
  }, [number]);
  return html`<div class="hidden" role="status">${text}</div>`;
}

/** The last answers, as long as it can be undone. */
function Toast() {
  const { length, [length - 1]: entry } = undoable();
  const [, redraw] = useState(0);
  useEffect(() => {
    if (!entry) return;
    const timer = setInterval(() => redraw(number => number + 1), 500);
    return () => clearInterval(timer);
  }, [entry]);
  if (!entry) return null;
  const left = Math.max(0, Math.ceil((entry.due - present()) / 1000));
  return html`<div class="toast"><span role="status">Answered ${length > 1 && `${length} questions `}“<${Said} text=${cut(textOf(entry.answer), 60)} />”</span>
    <button type="button" onClick=${undo}>Undo <kbd>z</kbd></button><span aria-hidden="true" class="left">${left} s</span></div>`;
}
