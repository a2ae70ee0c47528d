import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { Run } from '../../client/index.ts';
import { AgentRow } from './agent-row.ts';
import { BriefForm } from './brief-form.ts';
import { Reasons } from './gate.ts';
import { changed } from './live.ts';
import { Act, Empty, Failure, Pill, Said } from './parts.ts';
import { linkTo } from './route.ts';
import { client, isRefusal } from './service.ts';
import { asMe, mayAct } from './session.ts';
import { count, cut, visible } from './text.ts';
import { Timeline } from './timeline.ts';
import { useLoad } from './use-load.ts';

/** Agents that the gate names. */
const AGENTS_MOST = 30;

/** A run: what it lacks, its agents, its brief and its story. */
export function RunView({ run_id }: { run_id: string }) {
  const [edits, setEdits] = useState(false);
  const version = changed.runs.value;
  const { data: run, error, reload } = useLoad(signal => found(run_id, signal), run_id, [version]);
  const crumbs = html`<h1 class="crumbs"><a href="#/runs">Runs</a> / <${Said} text=${run_id} /></h1>`;
  if (run === undefined)
    return html`${crumbs}${error ? html`<${Failure} error=${error} />` : html`<${Empty}>Loading…<//>`}`;
  if (run === null) {
    return html`${crumbs}<${Empty}>No agent has sent a signal in this run, and it has no brief.<//>
      ${mayAct.value && html`<${BriefForm} run_id=${run_id} run=${undefined} done=${reload} />`}`;
  }
  const { agents, gate, brief, open_questions } = run;
  const done = agents.filter(({ status }) => status === 'validated').length;
  const all = run.agents_count + run.absent_count;
  return html`${crumbs}
    <section class="card" aria-label="Gate">
      <div class="meta"><span class="who"><${Said} text=${brief?.title ?? run_id} /></span>${run.ticket && html`<${Said} text=${run.ticket} />`}
        <${Pill} kind=${run.status === 'closed' ? '' : gate.ready ? 'ok' : 'warn'}>${run.status.replace('_', ' ')}<//>
        <span class="right">${done} of ${count(all, 'agent')} validated</span></div>
      <progress class="bar" max=${Math.max(1, all)} value=${done} aria-label="Validated agents"></progress>
      <${Gate} run=${run} />
      ${mayAct.value && run.status !== 'closed' && html`<${Close} run=${run} reload=${reload} />`}
    </section>
    ${
      open_questions.length > 0 &&
      html`<h2>Open questions <span>${run.open_questions_count}</span></h2><div class="rows">${open_questions.map(
        ({ question_id, question, agent_name }) =>
          html`<div class="row"><a class="t" href=${linkTo(['q', question_id])}>${visible(cut(question, 200))}</a><span class="a"><${Said} text=${agent_name} /></span></div>`,
      )}</div>`
    }
    <h2>Agents <span>${count(all, 'agent')}</span></h2>
    <div class="rows">${agents.map(agent => html`<${AgentRow} key=${agent.agent_name} agent=${agent} reload=${reload} isOver=${run.status === 'closed'} />`)}</div>
    <h2>Brief ${mayAct.value && run.status !== 'closed' && html`<button type="button" class="link" onClick=${() => setEdits(!edits)}>${edits ? 'leave it' : 'edit'}</button>`}</h2>
    ${
      edits
        ? html`<${BriefForm} run_id=${run_id} run=${run} done=${() => {
            setEdits(false);
            reload();
          }} />`
        : html`<dl class="facts"><dt>Title</dt><dd>${brief?.title ? html`<${Said} text=${brief.title} />` : '–'}</dd>
          <dt>Done when</dt><dd>${brief?.done_criteria ? html`<${Said} text=${brief.done_criteria} />` : '–'}</dd>
          <dt>Agents</dt><dd>${brief?.agents.length ? html`<${Said} text=${brief.agents.join(', ')} />` : '–'}</dd></dl>`
    }
    <h2>What happened</h2>
    <${Timeline} filter=${{ run_id }} version=${version} />`;
}

/** Null if nobody has heard of the run. */
async function found(run_id: string, signal: AbortSignal): Promise<Run | null> {
  try {
    return await client.runs.get(run_id, { signal });
  } catch (error) {
    if (isRefusal(error, 'RUN_NOT_FOUND')) return null;
    throw error;
  }
}

function Gate({ run: { gate, status } }: { run: Run }) {
  if (status === 'closed') return html`<p class="quiet">The run is closed.</p>`;
  if (gate.ready) return html`<p class="ticks">Nothing is missing: the run may be closed.</p>`;
  return html`<${Reasons} gate=${gate} most=${AGENTS_MOST} />`;
}

/** Closes the run as it is seen here: a change meanwhile refuses it. */
function Close({ run, reload }: { run: Run; reload: () => void }) {
  const { run_id, version, gate } = run;
  const close = async () => {
    try {
      await client.close(run_id, { version, ...asMe() });
    } catch (error) {
      if (!isRefusal(error, 'PRECONDITION_FAILED')) throw error;
      reload();
      throw new Error('The run has changed meanwhile; look at it again.');
    }
    reload();
  };
  return html`<div class="foot"><${Act} kind=${gate.ready ? 'primary' : ''} disabled=${!gate.ready} sure="Close it for good?" act=${close}>Close run<//>
    ${gate.blocking_count > 0 && html`<span>${count(gate.blocking_count, 'agent is', 'agents are')} not done</span>`}</div>`;
}
