import { html } from 'htm/preact';
import { AgentsView } from './agents.ts';
import { DeliveriesView } from './deliveries.ts';
import { HistoryView } from './history.ts';
import { InboxView } from './inbox.ts';
import { NumbersView } from './numbers.ts';
import { QuestionView } from './question.ts';
import { RunView } from './run.ts';
import { RunListView } from './runs.ts';
import { isAdmin, mayAct, seesAll } from './session.ts';
import { ThreadView } from './thread.ts';
import { ThreadListView } from './threads.ts';
import { TokensView } from './tokens.ts';
import { WebhookView } from './webhook.ts';
import { WebhookListView } from './webhooks.ts';

/** The view of a route. */
export function viewOf([section, first]: string[]) {
  if (section === undefined) return html`<${InboxView} />`;
  if (first !== undefined) {
    if (section === 'q') return html`<${QuestionView} key=${first} id=${first} />`;
    if (section === 'runs') return html`<${RunView} key=${first} run_id=${first} />`;
    if (section === 'webhooks' && mayAct.value) return html`<${WebhookView} key=${first} name=${first} />`;
    if (section === 'threads') return html`<${ThreadView} key=${first} thread_id=${first} />`;
  }
  if (section === 'history') return html`<${HistoryView} />`;
  if (section === 'runs') return html`<${RunListView} />`;
  if (section === 'agents') return html`<${AgentsView} />`;
  if (section === 'threads') return html`<${ThreadListView} />`;
  if (section === 'deliveries' && seesAll.value) return html`<${DeliveriesView} />`;
  if (section === 'webhooks' && mayAct.value) return html`<${WebhookListView} />`;
  if (section === 'numbers' && seesAll.value) return html`<${NumbersView} />`;
  if (section === 'tokens' && isAdmin.value) return html`<${TokensView} />`;
  return html`<h1>Nothing here</h1><p><a href="#/">To the inbox</a></p>`;
}
