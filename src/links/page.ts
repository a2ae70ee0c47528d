import { createHash } from 'node:crypto';
import { escaped } from '../html.ts';
import { printable } from '../printable.ts';
import type { Question } from '../questions/schemas.ts';

const STYLE = `
  body { max-width: 40rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color-scheme: light dark }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit }
  button { display: block; width: 100%; min-height: 3rem; margin: .5rem 0; font: inherit; text-align: start }
  label { display: block; padding: .5rem 0 } textarea { width: 100%; min-height: 6rem; font: inherit }
  small { opacity: .8 }`;

/** The page loads nothing and runs nothing; its form goes to itself. */
export const LINK_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The page of an answer link: the question with a form, or how it has ended. */
export function linkPage({ question, isOpen }: { question: Question; isOpen: boolean }, notice?: string): string {
  const { agent_name, run_id, context, expires_at } = question;
  const facts = [`${agent_name} in ${run_id}`, ...(isOpen && expires_at ? [`open until ${expires_at}`] : [])];
  return layout(question.question, [
    `<p><small>${html(facts.join(', '))}</small></p>`,
    `<h1><pre>${htmlLines(question.question)}</pre></h1>`,
    ...(context === null ? [] : [`<pre>${htmlLines(context)}</pre>`]),
    ...(notice === undefined ? [] : [`<p role="alert"><strong>${html(notice)}</strong></p>`]),
    isOpen ? form(question) : `<p>${html(endOf(question))}</p>`,
  ]);
}

/** A page that says why there is nothing to answer. */
export function noticePage(text: string): string {
  return layout(text, [`<h1>${html(text)}</h1>`]);
}

function form({ options, multi_select }: Question): string {
  const said = ({ label, description }: Question['options'][number]) =>
    `${html(label)}${description === undefined ? '' : `<br><small>${htmlLines(description)}</small>`}`;
  const choices = options.map(option =>
    multi_select
      ? `<label><input type="checkbox" name="selected" value="${escaped(option.label)}"> ${said(option)}</label>`
      : `<button name="selected" value="${escaped(option.label)}">${said(option)}</button>`,
  );
  const text = '<label>In your own words<textarea name="answer"></textarea></label>';
  return `<form method="post">${choices.join('')}${text}<button>Send</button></form>`;
}

function endOf({ state, answer, answered_by, answered_at, default_applied, default_answer }: Question): string {
  if (state === 'answered') return `Answered by ${answered_by?.name} at ${answered_at}: ${answer}`;
  if (state === 'open') return 'This link has expired.';
  return default_applied ? `It has expired, and the default stands: ${default_answer}` : `The question is ${state}.`;
}

function layout(title: string, body: string[]): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>${html(title.slice(0, 80))}</title><style>${STYLE}</style></head>
<body><main>${body.join('\n')}</main></body></html>`;
}

/** Text of one line that is shown: nothing in it is markup or steers the display. */
function html(text: string): string {
  return escaped(printable(text));
}

function htmlLines(text: string): string {
  return text.split(/\r?\n/).map(html).join('\n');
}
