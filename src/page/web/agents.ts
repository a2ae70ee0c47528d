import { html } from 'htm/preact';
import type { ControlState } from '../../client/index.ts';
import { AgentRow, isStalled } from './agent-row.ts';
import { agentsWith, busyAgents, currentRuns } from './current.ts';
import { changed, now } from './live.ts';
import { Empty, Failure } from './parts.ts';
import { count } from './text.ts';
import { useLoad } from './use-load.ts';

/** Of each state. */
const MOST = 400;

/** In the order in which they need somebody. */
const GROUPS: [title: string, fits: (agent: ControlState) => boolean][] = [
  ['Stalled', isStalled],
  ['Waiting for an answer', ({ status }) => status === 'awaiting_guidance'],
  ['Failed validation', ({ status }) => status === 'validation_failed'],
  ['Working', ({ status }) => status === 'working'],
  ['Completed, not yet validated', ({ status }) => status === 'completed'],
  ['Validated', ({ status }) => status === 'validated'],
];

/** The agents of runs that go on, by state. */
export function AgentsView() {
  // Signs of life are no events.
  const tick = Math.floor(now.value / 30_000);
  const { data, error, reload } = useLoad(
    async signal => {
      const [busy, validated, open] = await Promise.all([
        busyAgents(MOST, signal),
        agentsWith('validated', MOST, signal),
        currentRuns(MOST, signal),
      ]);
      const names = new Set(open.map(({ run_id }) => run_id));
      return [...busy, ...validated.filter(({ run_id }) => names.has(run_id))];
    },
    'agents',
    [changed.runs.value, tick],
  );
  let rest = data ?? [];
  const groups = GROUPS.map(([title, fits]) => {
    const members = rest.filter(fits);
    rest = rest.filter(agent => !members.includes(agent));
    return { title, members };
  });
  return html`<h1>Agents</h1>
    <${Failure} error=${error} />
    ${data?.length === 0 && html`<${Empty}>No run goes on.<//>`}
    ${groups.map(
      ({ title, members }) =>
        members.length > 0 &&
        html`<h2>${title} <span>${count(members.length, 'agent')}</span></h2>
      <div class="rows">${members.map(agent => html`<${AgentRow} key=${agent.thread_id} agent=${agent} reload=${reload} inRun=${false} />`)}</div>`,
    )}`;
}
