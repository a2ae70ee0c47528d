import { html } from 'htm/preact';
import { History } from './history.ts';
import { Inbox } from './inbox.ts';
import { QuestionPage } from './question.ts';

/** The view of a route. */
export function viewOf([section, first]: string[]) {
  if (section === undefined) return html`<${Inbox} />`;
  if (section === 'q' && first !== undefined) return html`<${QuestionPage} key=${first} id=${first} />`;
  if (section === 'history') return html`<${History} />`;
  return html`<h1>Nothing here</h1><p><a href="#/">To the inbox</a></p>`;
}
