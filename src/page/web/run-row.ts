import { html } from 'htm/preact';
import type { ComponentChildren } from 'preact';
import type { RunSummary } from '../../client/index.ts';
import { AgeText, Said } from './parts.ts';
import { linkTo } from './route.ts';
import { count } from './text.ts';

const WORDS: Record<RunSummary['status'], string> = {
  awaiting_guidance: 'waits for answers',
  running: 'works',
  completed: 'completed',
  closed: 'closed',
};

/** Those that a person can close come first, then those that wait for one. */
export const byNeed = (a: RunSummary, b: RunSummary) =>
  Number(b.ready) - Number(a.ready) || b.open_questions_count - a.open_questions_count;

/** A run as one line, and what its list says below. */
export function RunLine({ run, children }: { run: RunSummary; children?: ComponentChildren }) {
  const { run_id, title, ticket, status, ready, agents_count, open_questions_count, updated_at } = run;
  return html`<div class="row">
    <a class="t" href=${linkTo(['runs', run_id])}><${Said} text=${run_id} />${title && html` · <${Said} text=${title} />`}</a>
    <span class="a">${status !== 'closed' && ready ? html`<b class="ticks">ready to close</b>` : WORDS[status]}</span>
    <span class="s">${count(agents_count, 'agent')}${open_questions_count > 0 ? ` · ${count(open_questions_count, 'open question')}` : ''}${ticket && html` · <${Said} text=${ticket} />`} · changed <${AgeText} at=${updated_at} /> ago</span>
    ${children}
  </div>`;
}
