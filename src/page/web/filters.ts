import { html } from 'htm/preact';
import { useRef } from 'preact/hooks';
import { assigneeNames, filter, NOBODY, runs, snapshot } from './inbox-store.ts';
import { useKeys } from './keys.ts';
import { go, linkTo } from './route.ts';
import { visible } from './text.ts';

/** Narrows the inbox, and searches the history. */
export function FilterForm() {
  const form = useRef<HTMLFormElement>(null);
  const { run_id, ticket, assignee, mine } = filter;
  const change = (work: () => void) => {
    work();
    void snapshot().catch(() => {});
  };
  useKeys({ '/': () => form.current?.querySelector('input')?.focus() });
  const search = (event: SubmitEvent) => {
    event.preventDefault();
    const words = new FormData(event.target as HTMLFormElement).get('q');
    if (typeof words === 'string')
      go(linkTo(['history'], { q: words.trim(), run_id: run_id.value, ticket: ticket.value }));
  };
  // Enter in a form with several fields and no button does nothing.
  return html`<div class="filters" role="group" aria-label="Filters">
    <form ref=${form} onSubmit=${search} role="search"><input type="search" name="q" placeholder="Search all questions" aria-label="Search all questions" maxlength="400" /></form>
    <label class="check"><input type="checkbox" checked=${mine.value} onChange=${() =>
      change(() => {
        mine.value = !mine.value;
      })} /> mine</label>
    <select aria-label="Run" value=${run_id.value} onChange=${(event: Event) =>
      change(() => {
        run_id.value = (event.target as HTMLSelectElement).value;
      })}>
      ${[...new Set(['', run_id.value, ...runs.value.keys()])].sort().map(name => html`<option value=${name}>${visible(name) || 'all runs'}</option>`)}
    </select>
    <input aria-label="Ticket" placeholder="Ticket" maxlength="200" defaultValue=${ticket.value} onChange=${(
      event: Event,
    ) =>
      change(() => {
        ticket.value = (event.target as HTMLInputElement).value;
      })} />
    <select aria-label="Assignee" disabled=${mine.value} value=${assignee.value} onChange=${(event: Event) =>
      change(() => {
        assignee.value = (event.target as HTMLSelectElement).value;
      })}>
      <option value="">anyone</option><option value=${NOBODY}>nobody</option>
      ${assigneeNames.value.map(name => html`<option value=${name}>${visible(name)}</option>`)}
    </select>
  </div>`;
}
