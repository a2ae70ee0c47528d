import { html } from 'htm/preact';
import type { Run } from '../../client/index.ts';
import { Said } from './parts.ts';
import { linkTo } from './route.ts';
import { count, visible } from './text.ts';

type Gate = Run['gate'];
type Reason = Gate['reasons'][number];

/** What follows the name of the agent. */
const LACKS: Partial<Record<Reason['code'], string>> = {
  AGENT_NOT_SEEN: 'has sent no signal yet',
  MISSING_COMPLETION: 'has not reported completion',
  MISSING_VALIDATION: 'has not been validated',
  VALIDATION_FAILED: 'failed its validation',
  DONE_CRITERIA_MISMATCH: 'was validated against other criteria than those of the brief',
};

/** Why a run cannot be closed yet: a line for each agent. @param most agents that are shown */
export function Reasons({ gate: { reasons, blocking_count }, most }: { gate: Gate; most: number }) {
  const agents = [...Map.groupBy(reasons, ({ agent_name }) => agent_name)].slice(0, most);
  const rest = blocking_count - agents.length;
  return html`<ul class="gate">${agents.map(([name, lacks]) => html`<li>${name === undefined ? visible(lacks[0]?.detail ?? '') : html`<${Said} text=${name} /> ${lacks.map(lackOf)}.`}</li>`)}${rest > 0 && html`<li>and ${count(rest, 'more agent')}</li>`}</ul>`;
}

function lackOf({ code, detail, question_id }: Reason, index: number, all: readonly Reason[]) {
  const isFurther = all[index - 1]?.code === 'OPEN_QUESTION';
  const words = question_id
    ? html`${!isFurther && 'has an '}<a href=${linkTo(['q', question_id])}>${isFurther ? 'another one' : 'open question'}</a>`
    : (LACKS[code] ?? visible(detail));
  return html`${index > 0 && ', '}${words}`;
}
