import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';
import type { Question } from '../../client/index.ts';
import { answerAll, isPending, textOf, undo } from './answers.ts';
import { FilterForm } from './filters.ts';
import { later, loaded, needsMe, recentlyDone, runs, selected, unsnooze, waitingOnAgents } from './inbox-store.ts';
import { useKeys } from './keys.ts';
import { now } from './live.ts';
import { AgeText, Empty, Said } from './parts.ts';
import { moveFocus, QuestionCard } from './question-card.ts';
import { Receipts, readClaims } from './receipts.ts';
import { linkTo } from './route.ts';
import { byNeed, RunLine } from './run-row.ts';
import { age, count, cut } from './text.ts';

/** Cards that are drawn at once: a page of 500 questions is slow to draw, and nobody reads it whole. */
const STEP = 40;
const RUNS_MOST = 8;
/** Agents that are gone acknowledge nothing: their answers must not hide what stands below. */
const ROWS_MOST = 8;

/** Everything that needs the person, then what others do with the answers. */
export function InboxView() {
  const [most, setMost] = useState(STEP);
  const cards = needsMe.value;
  const open = cards.filter(({ state }) => state === 'open');
  const chosen = open.filter(({ question_id }) => selected.value.has(question_id) && !isPending(question_id));
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
    <${FilterForm} />
    <h2>Needs me <span>${open.length === 0 ? 'nothing' : `${count(open.length, 'question')}, the oldest waits ${age(oldest, now.value)}`}</span></h2>
    ${cards.length === 0 && html`<${Empty}>No question waits for you.<//>`}
    ${cards.slice(0, most).map(question => html`<${QuestionCard} key=${question.question_id} question=${question} />`)}
    ${cards.length > most && html`<button type="button" class="btn wide" onClick=${() => setMost(most + STEP)}>Show ${Math.min(STEP, cards.length - most)} more of ${cards.length}</button>`}
    <${Rows} title="Later" hint="out of sight for an hour" questions=${later.value} />
    <${Rows} title="Waiting on agents" hint="answered, not yet picked up" questions=${waitingOnAgents.value} />
    <${RunsInProgress} />
    <${Rows} title="Recently done" hint=${html`<a href=${linkTo(['history'])}>all questions</a>`} questions=${recentlyDone.value} />
    ${chosen.length > 0 && html`<${Batch} questions=${chosen} />`}
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
}

function Rows({ title, hint, questions }: RowsProps) {
  const [showsAll, setShowsAll] = useState(false);
  if (questions.length === 0) return null;
  const rows = showsAll ? questions : questions.slice(0, ROWS_MOST);
  return html`<h2>${title} <span>${hint}</span></h2>
    <div class="rows">${rows.map(
      question => html`<${QuestionItem} key=${question.question_id} question=${question} />`,
    )}</div>
    ${rows.length < questions.length && html`<button type="button" class="btn wide" onClick=${() => setShowsAll(true)}>Show all ${questions.length}</button>`}`;
}

/** A question as one line, and below how far its answer has come. */
export function QuestionItem({ question }: { question: Question }) {
  const { question_id, answer, answered_by, answered_at, asked_at, agent_name, run_id, state } = question;
  return html`<div class="row">
    <a class="t" href=${linkTo(['q', question_id])}><${Said} text=${cut(question.question, 200)} /></a>
    <span class="a">${state === 'answered' ? html`<${Said} text=${cut(answer ?? '', 40)} /> · by <${Said} text=${answered_by?.name ?? ''} />, ` : `${state}, `}<${AgeText} at=${answered_at ?? asked_at} /> ago</span>
    <span class="s"><${Said} text=${agent_name} /> in <${Said} text=${run_id} /> ${state !== 'open' ? html` · <${Receipts} question=${question} />` : later.value.includes(question) && html` · <button type="button" class="link" onClick=${() => unsnooze(question_id)}>bring back</button>`}</span>
  </div>`;
}

function RunsInProgress() {
  const running = [...runs.value.values()].sort(byNeed).slice(0, RUNS_MOST);
  if (running.length === 0) return null;
  return html`<h2>Runs in progress <span>${runs.value.size > RUNS_MOST && `${RUNS_MOST} of ${runs.value.size}, `}<a href=${linkTo(['runs'])}>all runs</a></span></h2>
    <div class="rows">${running.map(run => html`<${RunLine} key=${run.run_id} run=${run} />`)}</div>`;
}

/** The same answer for several questions: buttons for the options that all of them have. */
function Batch({ questions }: { questions: readonly Question[] }) {
  const clear = () => {
    selected.value = new Set();
  };
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
