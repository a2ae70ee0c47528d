import { html } from 'htm/preact';
import type { ControlState } from '../../client/index.ts';
import { AgentRow, isStalled } from './agent-row.ts';
import { changed, now } from './live.ts';
import { Empty, Failure } from './parts.ts';
import { allOf, client } from './service.ts';
import { ofRun } from './session.ts';
import { count } from './text.ts';
import { useLoad } from './use-load.ts';

const MOST = 600;

/** In the order in which they need somebody. */
const GROUPS: [title: string, fits: (agent: ControlState) => boolean][] = [
  ['Stalled', isStalled],
  ['Waiting for an answer', ({ status }) => status === 'awaiting_guidance'],
  ['Failed validation', ({ status }) => status === 'validation_failed'],
  ['Working', ({ status }) => status === 'working'],
  ['Completed, not yet validated', ({ status }) => status === 'completed'],
  ['Validated', ({ status }) => status === 'validated'],
];

/** All agents by state. */
export function Agents() {
  // Signs of life are no events.
  const tick = Math.floor(now.value / 30_000);
  const { data, error, reload } = useLoad(
    signal => allOf(page => client.agents.list({ ...page, ...ofRun() }, { signal }), MOST),
    'agents',
    [changed.runs.value, tick],
  );
  let rest = data?.filter(({ status }) => status !== 'withdrawn') ?? [];
  const groups = GROUPS.map(([title, fits]) => {
    const members = rest.filter(fits);
    rest = rest.filter(agent => !members.includes(agent));
    return { title, members };
  });
  return html`<h1>Agents</h1>
    <${Failure} error=${error} />
    ${data?.length === 0 && html`<${Empty}>No agent has sent a signal yet.<//>`}
    ${groups.map(
      ({ title, members }) =>
        members.length > 0 &&
        html`<h2>${title} <span>${count(members.length, 'agent')}</span></h2>
      <div class="rows">${members.map(agent => html`<${AgentRow} key=${agent.thread_id} agent=${agent} reload=${reload} inRun=${false} />`)}</div>`,
    )}`;
}
