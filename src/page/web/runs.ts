import { html } from 'htm/preact';
import type { RunSummary } from '../../client/index.ts';
import { currentRuns } from './current.ts';
import { Reasons } from './gate.ts';
import { changed } from './live.ts';
import { Empty, Failure } from './parts.ts';
import { go, linkTo, route } from './route.ts';
import { byNeed, RunLine } from './run-row.ts';
import { allOf, client } from './service.ts';
import { mayAct } from './session.ts';
import { count } from './text.ts';
import { useLoad } from './use-load.ts';

const MOST = 200;
/** Runs whose gates are read, one by one; agents of each that are shown. */
const WITH_REASONS = 12;
const AGENTS = 3;

/** The runs that go on, those that are ready first; closed ones on request. */
export function RunListView() {
  const showsClosed = route.value.query.has('closed');
  const { data: runs, error } = useLoad(
    signal =>
      showsClosed
        ? allOf(page => client.runs.list({ ...page, status: 'closed' }, { signal }), MOST)
        : currentRuns(MOST, signal),
    String(showsClosed),
    [changed.runs.value],
  );
  const begin = (event: SubmitEvent) => {
    event.preventDefault();
    const name = new FormData(event.target as HTMLFormElement).get('run_id');
    if (typeof name === 'string' && name.trim() !== '') go(linkTo(['runs', name.trim()]));
  };
  return html`
    <h1>Runs</h1>
    <div class="filters">
      <a class="btn" href=${linkTo(['runs'], { closed: showsClosed ? undefined : 'yes' })}>${showsClosed ? 'Show open runs' : 'Show closed runs'}</a>
      ${mayAct.value && html`<form class="act right" onSubmit=${begin}><input name="run_id" aria-label="Name of a run" placeholder="Name of a run" maxlength="200" /><button class="btn">Open</button></form>`}
    </div>
    <${Failure} error=${error} />
    ${runs && html`<h2>${showsClosed ? 'Closed' : 'In progress'} <span>${count(runs.length, 'run')}</span></h2>`}
    ${runs?.length === 0 && html`<${Empty}>${showsClosed ? 'No run has been closed.' : 'No run goes on. A run begins with the first signal of an agent, or with its brief.'}<//>`}
    ${
      runs &&
      runs.length > 0 &&
      html`<div class="rows">${runs
        .toSorted(showsClosed ? () => 0 : byNeed)
        .map(
          (run, index) =>
            html`<${RunLine} key=${run.run_id} run=${run}>${index < WITH_REASONS && !showsClosed && html`<${Lacks} run=${run} />`}<//>`,
        )}</div>`
    }`;
}

/** The first things that a run lacks. */
function Lacks({ run: { run_id, version, ready } }: { run: RunSummary }) {
  const { data } = useLoad(signal => client.runs.get(run_id, { signal }), run_id, [version]);
  if (ready || !data) return null;
  return html`<div class="s"><${Reasons} gate=${data.gate} most=${AGENTS} /></div>`;
}
