import { html } from 'htm/preact';
import { agreed, choiceText } from '../../client/answer-text.ts';
import type { Question } from '../../client/index.ts';
import { AnswerForm, OptionList } from './answer-form.ts';
import { answer, isPending, notices, pending, textOf, undo } from './answers.ts';
import { ContextText } from './context.ts';
import { assignees, briefs, draftOf, selected, snooze, toggleSelected } from './inbox-store.ts';
import { useKeys } from './keys.ts';
import { now } from './live.ts';
import { Act, AgeText, Pill, Said } from './parts.ts';
import { AgentPresence, Receipts } from './receipts.ts';
import { go, linkTo } from './route.ts';
import { client, present } from './service.ts';
import { asMe, mayAct, myName } from './session.ts';
import { clock, cut, span, visible } from './text.ts';

const SNOOZE_MS = 3_600_000;

type Approval = Question['approvals'][number];

interface CardProps {
  question: Question;
  /** All of it, as on its own page. */
  full?: boolean;
}

/** A question that needs a person, or has just ended. */
export function QuestionCard({ question, full = false }: CardProps) {
  const { question_id, run_id, agent_name, thread_id, state, priority, context } = question;
  const select = () => toggleSelected(question_id);
  const notice = notices.value.get(question_id);
  const isOpen = state === 'open';
  const canAnswer = isOpen && mayAct.value && !isPending(question_id);
  // An answer that was sent as the page was left has a draft still.
  const isLeft = !isOpen && !['', question.answer].includes(draftOf(question_id).text.trim());
  const assignee = assignees.value.get(thread_id) ?? null;
  const focusNext = () => moveFocus(1, { from: question_id });
  const later = () => {
    focusNext();
    snooze(question_id, SNOOZE_MS);
  };
  const assign = () =>
    client.threads.change(thread_id, { assignee: assignee === myName.value ? null : myName.value, ...asMe() });
  const page = linkTo(['q', question_id]);
  const element = () => document.getElementById(`q-${question_id}`);
  const onCard = (work: () => unknown) => () => (element()?.contains(document.activeElement) ? void work() : false);
  useKeys({
    ...(!full && { Enter: () => (document.activeElement === element() ? go(page) : false) }),
    ...(canAnswer && !full && { h: onCard(later) }),
    ...(canAnswer && { a: onCard(() => assign().catch(() => {})) }),
    ...(canAnswer && !full && { x: onCard(select) }),
    ...(isUnseen(question) && { e: onCard(() => attend(thread_id).catch(() => {})) }),
  });

  return html`<article class=${`card ${isOpen ? '' : 'over'}`} id=${`q-${question_id}`} tabindex="0" data-question=${question_id}
    aria-label=${`Question of ${agent_name}: ${cut(question.question, 80)}`}>
    <div class="meta">
      ${canAnswer && !full && html`<label class="pick"><input type="checkbox" checked=${selected.value.has(question_id)} onChange=${select} /><span class="hidden">Select</span></label>`}
      ${['urgent', 'high'].includes(priority) && html`<${Pill} kind=${priority}>${priority}<//>`}
      ${!isOpen && html`<${Pill}>${state}<//>`}
      <a class="who" href=${linkTo(['threads', thread_id])}><${Said} text=${agent_name} /></a>
      <a href=${linkTo(['runs', run_id])}><${Said} text=${run_id} />${title(run_id)}</a>
      ${briefs.value.get(run_id)?.ticket && html`<span><${Said} text=${briefs.value.get(run_id)?.ticket ?? ''} /></span>`}
      ${assignee && html`<span>for <${Said} text=${assignee} /></span>`}
      <span class="right"><${AgeText} at=${question.asked_at} />${expiry(question)}</span>
    </div>
    <${full ? 'h2' : 'h3'} class="q" dir="auto">${full ? visible(question.question) : html`<a href=${page}>${visible(cut(question.question, 1000))}</a>`}<//>
    ${context !== null && html`<${ContextText} key=${question_id} text=${context} open=${full} />`}
    ${
      canAnswer || isLeft
        ? html`<${AnswerForm} key=${question_id} question=${question} done=${focusNext}>
          ${!full && html`<button type="button" class="quietly" onClick=${later}><kbd>h</kbd> in an hour</button>`}
          <button type="button" class="quietly" onClick=${() => assign().catch(() => {})}><kbd>a</kbd> ${assignee === myName.value ? 'give back' : 'take it'}</button>
          ${full && html`<${Act} kind="quiet" sure="Cancel the question?" act=${() => client.cancel(question_id)}>cancel the question<//>`}
          <span class="right"><${AgentPresence} question=${question} /></span>
        <//>`
        : html`<${OptionList} question=${question} />`
    }
    ${isOpen && question.approvals_required > 1 && html`<${People} question=${question} mayAnswer=${canAnswer} />`}
    ${isPending(question_id) && html`<${Sending} question_id=${question_id} />`}
    ${!isOpen && html`<${Outcome} question=${question} />`}
    ${notice && html`<p class="notice" role="status">${notice}</p>`}
  </article>`;
}

function title(run_id: string) {
  const name = briefs.value.get(run_id)?.title;
  return name ? html` · <${Said} text=${name} />` : null;
}

/** What the default of a question says; empty without one. */
const defaultOf = ({ default_answer, default_selected }: Question) => choiceText(default_answer, default_selected);

function expiry(question: Question) {
  const { expires_at, state } = question;
  if (expires_at === null || state !== 'open') return null;
  const left = Date.parse(expires_at) - now.value;
  const fallback = defaultOf(question);
  const then = fallback === '' ? ', then nobody has answered' : html`, then “<${Said} text=${cut(fallback, 40)} />”`;
  return html` · <span title=${clock(expires_at)}>${left > 0 ? `expires in ${span(left)}` : 'expires now'}${then}</span>`;
}

/** Who has answered a question that two people must answer, and who is missing. Another person may give the same answer by a button. */
function People({ question, mayAnswer }: { question: Question; mayAnswer: boolean }) {
  const { approvals, approvals_required, options } = question;
  const isMine = ({ answered_by }: Approval) => answered_by.name === myName.value;
  // A button of an option gives the same answer.
  const isOption = ({ answer, selected }: Approval) =>
    selected.length === 1 && selected[0] === answer && options.some(({ label }) => label === answer);
  const agree = ({ answer: text, selected }: Approval) => answer(question, { text, selected });
  const others = approvals.filter(one => !isMine(one) && !isOption(one));
  return html`<div class="people">
    <p role="status">${agreed(question)} of ${approvals_required}: ${
      approvals.length === 0
        ? 'two people must give the same answer.'
        : html`${approvals.map(
            (one, index) =>
              html`${index > 0 && ', '}${isMine(one) ? 'you' : html`<${Said} text=${one.answered_by.name} />`} answered “<${Said} text=${cut(one.answer, 200)} />”`,
          )}. ${approvals.some(isMine) ? 'It waits for another person.' : 'It waits for the same answer of a second person.'}`
    }</p>
    ${mayAnswer && others.map(one => html`<button type="button" class="btn" onClick=${() => agree(one)}>Answer “<${Said} text=${cut(one.answer, 60)} />”, too</button>`)}
  </div>`;
}

function Sending({ question_id }: { question_id: string }) {
  const entry = pending.value.find(({ question }) => question.question_id === question_id);
  const waits = entry !== undefined && entry.due > present();
  return html`<p class="notice">${waits ? 'Answered' : 'Sending'} “<${Said} text=${cut(entry ? textOf(entry.answer) : '', 120)} />”${waits ? '.' : '…'}
    ${waits && html` <button type="button" class="link" onClick=${undo}>Undo</button>`}</p>`;
}

/** Whether the person may note that a question expired. */
const isUnseen = ({ state, thread_id }: Question) =>
  state === 'expired' && mayAct.value && assignees.value.has(thread_id);

const attend = (thread_id: string) => client.threads.change(thread_id, { state: 'answered', ...asMe() });

/** How a question ended, and by whom. */
function Outcome({ question }: { question: Question }) {
  const {
    state,
    answer: text,
    answered_by,
    answered_at,
    answered_in,
    default_applied,
    expires_at,
    thread_id,
  } = question;
  const others = question.approvals.filter(
    one => one.answer.trim() === text?.trim() && one.answered_by.name !== answered_by?.name,
  );
  const fallback = defaultOf(question);
  if (state === 'answered') {
    return html`<p class="outcome"><b>“<${Said} text=${text ?? ''} />”</b>
      <span class="quiet"> by ${others.map(one => html`<${Said} text=${one.answered_by.name} /> and `)}<${Said} text=${answered_by?.name ?? ''} />${answered_in && answered_in !== 'page' ? ` (${answered_in})` : ''}${answered_at && html`, <${AgeText} at=${answered_at} /> ago`}</span>
      <br /><${Receipts} question=${question} /></p>`;
  }
  if (state === 'expired') {
    return html`<p class="outcome">Nobody answered${expires_at && html` until ${clock(expires_at)}`}${
      default_applied ? html`; “<${Said} text=${fallback} />” was applied` : ''
    }.
      ${isUnseen(question) && html` <${Act} act=${() => attend(thread_id)}><kbd>e</kbd> I have seen it<//>`}</p>`;
  }
  return html`<p class="outcome">${state === 'cancelled' ? 'Cancelled' : 'The agent asked another question instead'}.</p>`;
}

/** Moves the focus among the questions of the view. @param from the question that has it, if not the focus says so */
export function moveFocus(step: number, { from, scroll = true }: { from?: string; scroll?: boolean } = {}): void {
  const cards = [...document.querySelectorAll<HTMLElement>('[data-question]')];
  const current = from ? document.getElementById(`q-${from}`) : document.activeElement?.closest('[data-question]');
  const index = cards.indexOf(current as HTMLElement);
  const next = cards[index === -1 ? 0 : index + step];
  next?.focus({ preventScroll: true });
  if (scroll) next?.scrollIntoView({ block: 'nearest' });
}
