import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { Thread } from '../../client/index.ts';
import { changed } from './live.ts';
import { AgeText, Empty, Failure, Pill, Said } from './parts.ts';
import { go, linkTo, route } from './route.ts';
import { allOf, client, sentenceOf } from './service.ts';
import { asMe, mayAct, myName, ofRun, viewer } from './session.ts';
import { count, cut } from './text.ts';
import { useLoad } from './use-load.ts';

const STEP = 50;
const QUEUES: [name: string, title: string][] = [
  ['', 'All'],
  ['unanswered', 'Unanswered'],
  ['unseen', 'New for me'],
  ['mine', 'Mine'],
];

/** Conversations: all of them, a queue, or those with some words. */
export function ThreadListView() {
  const { query } = route.value;
  const q = query.get('q') ?? '';
  const queue = query.get('queue') ?? '';
  const [most, setMost] = useState(STEP);
  const [writes, setWrites] = useState(false);
  const { data, error } = useLoad(
    signal =>
      allOf(
        page => client.threads.list({ ...page, ...ofRun(), ...filterOf(queue), ...(q && { q }) }, { signal }),
        most,
      ),
    `${queue} ${q}`,
    [most, changed.threads.value],
  );
  const search = (event: SubmitEvent) => {
    event.preventDefault();
    const words = String(new FormData(event.target as HTMLFormElement).get('q')).trim();
    go(linkTo(['threads'], { queue, q: words }));
  };
  return html`<h1>Threads</h1>
    <div class="filters" role="group" aria-label="Queue">${QUEUES.map(([name, title]) => html`<a class="btn" href=${linkTo(['threads'], { queue: name, q })} aria-current=${queue === name ? 'true' : undefined}>${title}</a>`)}
      ${mayAct.value && html`<button type="button" class="btn right" aria-expanded=${writes} onClick=${() => setWrites(!writes)}>New thread</button>`}</div>
    <form class="filters" role="search" onSubmit=${search}><input type="search" name="q" key=${q} defaultValue=${q} placeholder="Words in titles and posts" aria-label="Words in titles and posts" maxlength="400" /><button class="btn">Search</button></form>
    ${writes && html`<${NewThread} />`}
    <${Failure} error=${error} />
    ${data && html`<h2>${q ? 'Found' : 'Latest activity'} <span>${data.length >= most ? `the first ${most}` : count(data.length, 'thread')}</span></h2>`}
    ${data?.length === 0 && html`<${Empty}>There is no such thread.<//>`}
    ${data && data.length > 0 && html`<div class="rows">${data.map(thread => html`<${ThreadRow} key=${thread.thread_id} thread=${thread} />`)}</div>`}
    ${data && data.length >= most && most < 500 && html`<button type="button" class="btn wide" onClick=${() => setMost(most + STEP)}>Show more</button>`}`;
}

function filterOf(queue: string) {
  if (queue === 'unanswered') return { queue: 'unanswered' as const };
  if (queue === 'unseen') return { queue: 'unseen' as const, viewer: viewer.value };
  return queue === 'mine' ? { assignee: myName.value } : {};
}

function ThreadRow({ thread }: { thread: Thread }) {
  const { thread_id, title, state, priority, assignee, posts_count, updated_at, last_actor, unanswered, run_id } =
    thread;
  return html`<div class="row">
    <a class="t" href=${linkTo(['threads', thread_id])}><${Said} text=${cut(title, 200)} /></a>
    <span class="a">${['urgent', 'high'].includes(priority) && html`<${Pill} kind=${priority}>${priority}<//> `}<${Pill} kind=${unanswered ? 'warn' : ''}>${state.replace('_', ' ')}<//></span>
    <span class="s">${count(posts_count, 'post')} · <${Said} text=${last_actor.name} />, <${AgeText} at=${updated_at} /> ago${run_id && html` · <${Said} text=${run_id} />`}${assignee && html` · for <${Said} text=${assignee} />`}</span>
  </div>`;
}

function NewThread() {
  const [error, setError] = useState<string>();
  const open = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const run_id = String(form.get('run_id')).trim();
    try {
      const thread = await client.threads.open({
        title: String(form.get('title')),
        body: String(form.get('body')),
        ...(run_id && { run_id }),
        ...asMe(),
      });
      go(linkTo(['threads', thread.thread_id]));
    } catch (failure) {
      setError(sentenceOf(failure));
    }
  };
  return html`<form class="panel" onSubmit=${open}>
    <label class="field">Title<input name="title" required maxlength="500" /></label>
    <label class="field">Text<textarea name="body" required rows="3" maxlength="65536"></textarea></label>
    <label class="field">Run, if it is about one<input name="run_id" maxlength="200" /></label>
    <${Failure} error=${error} /><div><button class="btn primary">Open the thread</button></div></form>`;
}
