import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import { QuestionRow } from './inbox.ts';
import { changed } from './live.ts';
import { Empty, Failure } from './parts.ts';
import { go, linkTo, route } from './route.ts';
import { allOf, client } from './service.ts';
import { ofRun } from './session.ts';
import { useLoad } from './use-load.ts';

const STEP = 50;
const STATES = ['open', 'answered', 'expired', 'cancelled', 'superseded'] as const;

/** All questions, newest first, or those with some words. */
export function History() {
  const { query } = route.value;
  const q = query.get('q') ?? '';
  const state = STATES.find(one => one === query.get('state'));
  const [most, setMost] = useState(STEP);
  const { data, error } = useLoad(
    signal =>
      allOf(
        page =>
          client.questions(
            { ...page, ...ofRun(), order: 'newest', ...(q && { q }), ...(state && { state }) },
            { signal },
          ),
        most,
      ),
    `${q} ${state}`,
    [most, changed.threads.value],
  );
  const search = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    go(linkTo(['history'], { q: String(form.get('q')).trim(), state: String(form.get('state')) }));
  };
  return html`
    <h1>All questions</h1>
    <form class="filters" role="search" onSubmit=${search}>
      <input type="search" name="q" key=${q} defaultValue=${q} placeholder="Words" aria-label="Words" maxlength="400" />
      <select name="state" aria-label="State" value=${state ?? ''}><option value="">any state</option>${STATES.map(one => html`<option>${one}</option>`)}</select>
      <button class="btn">Search</button>
    </form>
    <${Failure} error=${error} />
    ${data?.length === 0 && html`<${Empty}>No question has these words.<//>`}
    ${data && data.length > 0 && html`<div class="rows">${data.map(question => html`<${QuestionRow} key=${question.question_id} question=${question} />`)}</div>`}
    ${data && data.length >= most && most < 1000 && html`<button type="button" class="btn wide" onClick=${() => setMost(most + STEP)}>Show more</button>`}`;
}
