import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';
import type { Post, Thread, ThreadChange } from '../../client/index.ts';
import { ContextText } from './context.ts';
import { questions } from './inbox-store.ts';
import { changed } from './live.ts';
import { Act, AgeText, Empty, Failure, Pill, Said } from './parts.ts';
import { QuestionCard } from './question-card.ts';
import { linkTo } from './route.ts';
import { SayForm } from './say-form.ts';
import { allOf, client } from './service.ts';
import { asMe, mayAct, myName, viewer } from './session.ts';
import { useLoad } from './use-load.ts';

const STEP = 100;
const STATES = ['triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'] as const;
const PRIORITIES = ['urgent', 'high', 'normal', 'low'] as const;

/** A conversation: its posts, a reply, and what people arrange about it. */
export function ThreadView({ thread_id }: { thread_id: string }) {
  const [state, setState] = useState('');
  const [most, setMost] = useState(STEP);
  const { data, error, reload } = useLoad(
    async signal => {
      const [thread, posts] = await Promise.all([
        client.threads.get(thread_id, { signal }),
        allOf(page => client.threads.posts(thread_id, { ...page, order: 'newest' }, { signal }), most),
      ]);
      const { kind, run_id, agent_name } = thread;
      const isAgent = kind === 'control' && run_id !== null && agent_name !== null;
      const asked = isAgent ? await client.questions({ run_id, agent_name, state: 'open' }, { signal }) : { items: [] };
      return { thread, posts, asked: asked.items };
    },
    thread_id,
    [changed.threads.value, most],
  );
  const last = data?.thread.last_sequence;
  useEffect(() => {
    // A mark is a courtesy: without it, the thread only stays new.
    if (last !== undefined) void client.threads.seen(thread_id, viewer.value).catch(() => {});
  }, [last]);
  const crumbs = html`<h1 class="crumbs"><a href="#/threads">Threads</a> / Thread</h1>`;
  if (!data) return html`${crumbs}${error ? html`<${Failure} error=${error} />` : html`<${Empty}>Loading…<//>`}`;
  const { thread, posts, asked } = data;
  const say = async (body: string) => {
    await client.threads.addPost(thread_id, { body, ...asMe(), ...(state && { state: state as Thread['state'] }) });
    setState('');
    reload();
  };
  return html`${crumbs}
    <h2 class="title"><${Said} text=${thread.title} /></h2>
    <${Arrangement} thread=${thread} reload=${reload} />
    ${posts.length >= most && most < 10 * STEP && html`<button type="button" class="btn wide" onClick=${() => setMost(most + STEP)}>Show earlier posts</button>`}
    <ol class="posts">${posts.toReversed().map(post => html`<${PostItem} key=${post.post_id} post=${post} />`)}</ol>
    ${asked.map(one => html`<${QuestionCard} key=${one.question_id} question=${questions.value.get(one.question_id) ?? one} full />`)}
    ${
      mayAct.value &&
      thread.state !== 'closed' &&
      html`<${SayForm} thread_id=${thread_id} label=${thread.kind === 'control' ? 'Say something to the agent' : 'Reply'} say=${say}>
      <label>and set the state to <select value=${state} onChange=${(event: Event) => setState((event.target as HTMLSelectElement).value)}>
        <option value="">as it is</option>${STATES.map(one => html`<option value=${one}>${one.replace('_', ' ')}</option>`)}</select></label><//>`
    }`;
}

function Arrangement({ thread, reload }: { thread: Thread; reload: () => void }) {
  const { thread_id, state, priority, assignee, run_id } = thread;
  const change = (wanted: ThreadChange) => async () => {
    await client.threads.change(thread_id, { ...wanted, ...asMe() });
    reload();
  };
  const canChange = mayAct.value && state !== 'closed';
  const [wanted, setWanted] = useState(assignee ?? '');
  return html`<div class="meta arrangement"><${Pill}>${state.replace('_', ' ')}<//>
    ${run_id && html`<a href=${linkTo(['runs', run_id])}><${Said} text=${run_id} /></a>`}
    ${assignee && html`<span>for <${Said} text=${assignee} /></span>`}
    ${
      canChange
        ? html`
      <label>Priority <select value=${priority} onChange=${(event: Event) => void change({ priority: (event.target as HTMLSelectElement).value as Thread['priority'] })().catch(reload)}>${PRIORITIES.map(one => html`<option>${one}</option>`)}</select></label>
      <label>For <input size="12" maxlength="200" placeholder=${myName.value} value=${wanted} onInput=${(event: InputEvent) => setWanted((event.target as HTMLInputElement).value)} /></label>
      <${Act} act=${change({ assignee: wanted.trim() || myName.value })}>Assign<//>
      ${assignee && html`<${Act} act=${change({ assignee: null })}>To nobody<//>`}
      <${Act} sure="Close it for good?" act=${change({ state: 'closed' })}>Close<//>`
        : html`<span>${priority}</span>`
    }</div>`;
}

function PostItem({ post }: { post: Post }) {
  const { actor, body, created_at, control_type } = post;
  return html`<li class="card post"><div class="meta"><span class="who"><${Said} text=${actor.name} /></span><span>${actor.type}</span>
    ${control_type && html`<${Pill}>${control_type.replace('_', ' ')}<//>`}<span class="right"><${AgeText} at=${created_at} /> ago</span></div>
    <${ContextText} text=${body} /></li>`;
}
