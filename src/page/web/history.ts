import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { QuestionFilter } from '../../client/index.ts';
import { QuestionItem } from './inbox.ts';
import { changed } from './live.ts';
import { inPlaces, type Place, placesOf } from './narrowing.ts';
import { Empty, Failure } from './parts.ts';
import { go, linkTo, route } from './route.ts';
import { allOf, client } from './service.ts';
import { useLoad } from './use-load.ts';

const STEP = 50;
const STATES = ['open', 'answered', 'expired', 'cancelled', 'superseded'] as const;

/** Newest first. */
async function questionsOf(places: readonly Place[], query: QuestionFilter, most: number, signal: AbortSignal) {
  const found = await inPlaces(places, place =>
    allOf(page => client.questions({ ...query, ...place, ...page, order: 'newest' }, { signal }), most),
  );
  return found.sort((a, b) => b.asked_at.localeCompare(a.asked_at)).slice(0, most);
}

/** All questions, newest first, or those with some words, of a run or ticket, or in a state. */
export function HistoryView() {
  const { query } = route.value;
  const [q = '', run_id = '', ticket = ''] = ['q', 'run_id', 'ticket'].map(name => query.get(name) ?? '');
  const state = STATES.find(one => one === query.get('state'));
  const [most, setMost] = useState(STEP);
  const { data, error } = useLoad(
    async signal =>
      questionsOf(await placesOf(run_id, ticket, signal), { ...(q && { q }), ...(state && { state }) }, most, signal),
    JSON.stringify([q, state, run_id, ticket]),
    [most, changed.threads.value],
  );
  const search = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const given = ['q', 'run_id', 'ticket', 'state'].map(name => [name, String(form.get(name)).trim()]);
    go(linkTo(['history'], Object.fromEntries(given)));
  };
  return html`
    <h1>All questions</h1>
    <form class="filters" role="search" onSubmit=${search}>
      <input type="search" name="q" key=${q} defaultValue=${q} placeholder="Words" aria-label="Words" maxlength="400" />
      <input name="run_id" key=${run_id} defaultValue=${run_id} placeholder="Run" aria-label="Run" maxlength="200" />
      <input name="ticket" key=${ticket} defaultValue=${ticket} placeholder="Ticket" aria-label="Ticket" maxlength="200" />
      <select name="state" aria-label="State" value=${state ?? ''}><option value="">any state</option>${STATES.map(one => html`<option>${one}</option>`)}</select>
      <button class="btn">Search</button>
    </form>
    <${Failure} error=${error} />
    ${data?.length === 0 && html`<${Empty}>No question fits.<//>`}
    ${data && data.length > 0 && html`<div class="rows">${data.map(question => html`<${QuestionItem} key=${question.question_id} question=${question} />`)}</div>`}
    ${data && data.length >= most && most < 1000 && html`<button type="button" class="btn wide" onClick=${() => setMost(most + STEP)}>Show more</button>`}`;
}
