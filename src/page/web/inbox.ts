import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';
import type { Question } from '../../client/index.ts';
import { answerAll, textOf, undo } from './answers.ts';
import { Filters } from './filters.ts';
import { later, loaded, needsMe, recentlyDone, runs, unsnooze, waitingOnAgents } from './inbox-store.ts';
import { useKeys } from './keys.ts';
import { now } from './live.ts';
import { Age, Empty, Said } from './parts.ts';
import { moveFocus, QuestionCard } from './question-card.ts';
import { Receipts, readClaims } from './receipts.ts';
import { linkTo } from './route.ts';
import { RunRow } from './run-row.ts';
import { age, count, cut } from './text.ts';

/** Cards that are drawn at once: a page of 500 questions is slow to draw, and nobody reads it whole. */
const STEP = 40;

/** Everything that needs the person, then what others do with the answers. */
export function Inbox() {
  const [most, setMost] = useState(STEP);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const cards = needsMe.value;
  const open = cards.filter(({ state }) => state === 'open');
  const chosen = [...selected].filter(id => open.some(({ question_id }) => question_id === id));
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setSelected(next);
  };
  useKeys({ j: () => moveFocus(1), k: () => moveFocus(-1), z: undo, ArrowDown: onCards(1), ArrowUp: onCards(-1) });
  // The first question has the focus, unless the person has begun somewhere else.
  useEffect(() => {
    if (loaded.value && document.activeElement === document.body) moveFocus(1, { scroll: false });
  }, [loaded.value]);
  const tick = Math.floor(now.value / 15_000);
  useEffect(() => void readClaims().catch(() => {}), [waitingOnAgents.value, tick]);

  if (!loaded.value) return html`<${Empty}>Loading…<//>`;
  const oldest = open.map(({ asked_at }) => asked_at).sort()[0] ?? '';
  return html`
    <h1 class="hidden">Inbox</h1>
    <${Filters} />
    <h2>Needs me <span>${open.length === 0 ? 'nothing' : `${count(open.length, 'question')}, the oldest waits ${age(oldest, now.value)}`}</span></h2>
    ${cards.length === 0 && html`<${Empty}>No question waits for you.<//>`}
    ${cards.slice(0, most).map(
      question => html`<${QuestionCard} key=${question.question_id} question=${question}
        selected=${chosen.includes(question.question_id)} select=${() => toggle(question.question_id)} />`,
    )}
    ${cards.length > most && html`<button type="button" class="btn wide" onClick=${() => setMost(most + STEP)}>Show ${Math.min(STEP, cards.length - most)} more of ${cards.length}</button>`}
    <${Rows} title="Later" hint="out of sight for an hour" questions=${later.value}
      line=${(question: Question) => html`<button type="button" class="link" onClick=${() => unsnooze(question.question_id)}>bring back</button>`} />
    <${Rows} title="Waiting on agents" hint="answered, not yet picked up" questions=${waitingOnAgents.value}
      line=${(question: Question) => html`<${Receipts} question=${question} />`} />
    <${RunsInProgress} />
    <${Rows} title="Recently done" hint=${html`<a href=${linkTo(['history'])}>all questions</a>`} questions=${recentlyDone.value}
      line=${(question: Question) => html`<${Receipts} question=${question} />`} />
    ${chosen.length > 0 && html`<${Batch} questions=${open.filter(({ question_id }) => chosen.includes(question_id))} clear=${() => setSelected(new Set())} />`}
  `;
}

/** Arrow keys move among the questions if one has the focus; otherwise they scroll. */
function onCards(step: number) {
  return () => (document.activeElement?.matches('[data-question]') ? moveFocus(step) : false);
}

interface RowsProps {
  title: string;
  hint: unknown;
  questions: readonly Question[];
  line: (question: Question) => unknown;
}

function Rows({ title, hint, questions, line }: RowsProps) {
  if (questions.length === 0) return null;
  return html`<h2>${title} <span>${hint}</span></h2>
    <div class="rows">${questions.map(
      question => html`<${QuestionRow} key=${question.question_id} question=${question}>${line(question)}<//>`,
    )}</div>`;
}

/** A question as one line; its second line is for the list that shows it. */
export function QuestionRow({ question, children }: { question: Question; children?: unknown }) {
  const { question_id, answer, answered_by, answered_at, asked_at, agent_name, run_id, state } = question;
  return html`<div class="row">
    <a class="t" href=${linkTo(['q', question_id])}><${Said} text=${cut(question.question, 200)} /></a>
    <span class="a">${state === 'answered' ? html`<${Said} text=${cut(answer ?? '', 40)} /> · by <${Said} text=${answered_by?.name ?? ''} />, ` : `${state}, `}<${Age} at=${answered_at ?? asked_at} /> ago</span>
    <span class="s"><${Said} text=${agent_name} /> in <${Said} text=${run_id} /> · ${children}</span>
  </div>`;
}

function RunsInProgress() {
  const running = [...runs.value.values()].filter(({ status }) => status !== 'closed').slice(0, 8);
  if (running.length === 0) return null;
  return html`<h2>Runs in progress <span><a href=${linkTo(['runs'])}>all runs</a></span></h2>
    <div class="rows">${running.map(run => html`<${RunRow} key=${run.run_id} run=${run} />`)}</div>`;
}

/** The same answer for several questions: buttons for the options that all of them have. */
function Batch({ questions, clear }: { questions: readonly Question[]; clear: () => void }) {
  const [text, setText] = useState('');
  const [first, ...others] = questions.map(({ options }) => options.map(({ label }) => label));
  const common = (first ?? []).filter(label => others.every(labels => labels.includes(label)));
  const send = (given: { text: string; selected: string[] }) => {
    if (textOf(given) === '') return;
    answerAll(
      questions.map(({ question_id }) => question_id),
      given,
    );
    clear();
  };
  return html`<div class="batch" role="region" aria-label="Answer the selected questions">
    <b>${questions.length} selected</b>
    ${common.slice(0, 6).map(label => html`<button type="button" class="btn" onClick=${() => send({ text: '', selected: [label] })}><${Said} text=${cut(label, 40)} /></button>`)}
    <input aria-label="Answer all in words" placeholder="Answer all in words" value=${text} onInput=${(event: InputEvent) => setText((event.target as HTMLInputElement).value)}
      onKeyDown=${(event: KeyboardEvent) => event.key === 'Enter' && send({ text, selected: [] })} />
    <button type="button" class="btn primary" disabled=${text.trim() === ''} onClick=${() => send({ text, selected: [] })}>Send</button>
    <button type="button" class="quietly" onClick=${clear}>Clear</button>
  </div>`;
}
