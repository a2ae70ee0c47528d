import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { ControlState } from '../../client/index.ts';
import { now } from './live.ts';
import { Act, AgeText, Pill, Said } from './parts.ts';
import { linkTo } from './route.ts';
import { SayForm } from './say-form.ts';
import { client } from './service.ts';
import { asMe, mayAct } from './session.ts';
import { count, cut } from './text.ts';

/** A working agent without a sign of life for so long counts as stalled. Milliseconds. */
const STALLED_MS = 900_000;

export function isStalled({ status, last_seen_at }: ControlState): boolean {
  const silence = last_seen_at === null ? 0 : now.value - Date.parse(last_seen_at);
  return ['working', 'awaiting_guidance', 'validation_failed'].includes(status) && silence > STALLED_MS;
}

const KINDS: Partial<Record<ControlState['status'], string>> = {
  awaiting_guidance: 'warn',
  validation_failed: 'bad',
  validated: 'ok',
};

/** An agent with what a person can do about it. */
export function AgentRow({
  agent,
  reload,
  inRun = true,
  isOver = false,
}: {
  agent: ControlState;
  reload: () => void;
  inRun?: boolean;
  /** Whether its run is closed. */
  isOver?: boolean;
}) {
  const [says, setSays] = useState(false);
  const { run_id, agent_name, thread_id, status, attempt, open_questions_count, last_seen_at, completion } = agent;
  const isThere = status !== 'absent' && status !== 'withdrawn' && !isOver;
  const act = (work: () => Promise<unknown>) => async () => {
    await work();
    reload();
  };
  return html`<div class="row">
    <span class="t">${status === 'absent' ? html`<${Said} text=${agent_name} />` : html`<a href=${linkTo(['threads', thread_id])}><${Said} text=${agent_name} /></a>`}${!inRun && html` in <a href=${linkTo(['runs', run_id])}><${Said} text=${run_id} /></a>`}</span>
    <span class="a">${isStalled(agent) && html`<${Pill} kind="bad">stalled<//> `}<${Pill} kind=${KINDS[status] ?? ''}>${status.replaceAll('_', ' ')}<//></span>
    <span class="s half">attempt ${attempt}${open_questions_count > 0 && html` · <a href=${linkTo(['threads', thread_id])}>${count(open_questions_count, 'open question')}</a>`} · ${last_seen_at ? html`last seen <${AgeText} at=${last_seen_at} /> ago` : 'never seen'}${completion?.summary && html` · <${Said} text=${cut(completion.summary, 120)} />`}</span>
    ${
      mayAct.value &&
      isThere &&
      html`<div class="s acts side">
        <button type="button" class="quietly" aria-expanded=${says} onClick=${() => setSays(!says)}>say something</button>
        <${Act} kind="quiet" sure="Begin the next attempt?" act=${act(() => client.agents.startAttempt({ run_id, agent_name }))}>next attempt<//>
        <${Act} kind="quiet" sure="Take it out of the run?" act=${act(() => client.agents.withdraw({ run_id, agent_name }))}>withdraw<//>
      </div>
      ${
        says &&
        html`<div class="s"><${SayForm} thread_id=${thread_id} label=${`To ${agent_name}`} say=${async (
          body: string,
        ) => {
          await client.threads.addPost(thread_id, { body, ...asMe() });
          setSays(false);
        }} /></div>`
      }`
    }
  </div>`;
}
