import { html } from 'htm/preact';
import { Agents } from './agents.ts';
import { Deliveries } from './deliveries.ts';
import { History } from './history.ts';
import { Inbox } from './inbox.ts';
import { Numbers } from './numbers.ts';
import { QuestionPage } from './question.ts';
import { RunPage } from './run.ts';
import { Runs } from './runs.ts';
import { isAdmin, mayAct, seesAll } from './session.ts';
import { ThreadPage } from './thread.ts';
import { Threads } from './threads.ts';
import { Tokens } from './tokens.ts';
import { WebhookPage } from './webhook.ts';
import { Webhooks } from './webhooks.ts';

/** The view of a route. */
export function viewOf([section, first]: string[]) {
  if (section === undefined) return html`<${Inbox} />`;
  if (first !== undefined) {
    if (section === 'q') return html`<${QuestionPage} key=${first} id=${first} />`;
    if (section === 'runs') return html`<${RunPage} key=${first} run_id=${first} />`;
    if (section === 'webhooks' && mayAct.value) return html`<${WebhookPage} key=${first} name=${first} />`;
    if (section === 'threads') return html`<${ThreadPage} key=${first} thread_id=${first} />`;
  }
  if (section === 'history') return html`<${History} />`;
  if (section === 'runs') return html`<${Runs} />`;
  if (section === 'agents') return html`<${Agents} />`;
  if (section === 'threads') return html`<${Threads} />`;
  if (section === 'deliveries' && seesAll.value) return html`<${Deliveries} />`;
  if (section === 'webhooks' && mayAct.value) return html`<${Webhooks} />`;
  if (section === 'numbers' && seesAll.value) return html`<${Numbers} />`;
  if (section === 'tokens' && isAdmin.value) return html`<${Tokens} />`;
  return html`<h1>Nothing here</h1><p><a href="#/">To the inbox</a></p>`;
}
