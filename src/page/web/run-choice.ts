import { html } from 'htm/preact';
import { Failure } from './parts.ts';
import { allOf, client } from './service.ts';
import { chosenRun, me } from './session.ts';
import { write } from './settings.ts';
import { visible } from './text.ts';
import { useLoad } from './use-load.ts';

const MOST = 400;

/** The run to look at, for a person whose token is for several. */
export function RunChoice() {
  const { data, error } = useLoad(signal => allOf(page => client.runs.list(page, { signal }), MOST), 'choice');
  const choose = (event: Event) => {
    write('run', (event.target as HTMLSelectElement).value);
    // All that is on the page is about the other run.
    location.reload();
  };
  const names = data?.map(({ run_id }) => run_id) ?? [];
  const isGone = data !== undefined && chosenRun !== '' && !names.includes(chosenRun);
  return html`<${Failure} error=${error} /><p class="filters"><select aria-label="Run to look at" value=${isGone ? '' : chosenRun} onChange=${choose}>
    <option value="">choose one of ${me.value?.runs}</option>${names.map(name => html`<option value=${name}>${visible(name)}</option>`)}</select></p>`;
}
