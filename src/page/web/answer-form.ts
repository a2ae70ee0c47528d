import { html } from 'htm/preact';
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Question } from '../../client/index.ts';
import { answer, textOf } from './answers.ts';
import { type Draft, draftOf, keepDraft } from './inbox-store.ts';
import { useKeys } from './keys.ts';
import { Said } from './parts.ts';

interface FormProps {
  question: Question;
  /** Called when an answer is on its way. */
  done: () => void;
  /** Further acts. */
  children?: ComponentChildren;
}

/**
 * The options of a question as buttons or, where several may be chosen, as boxes; and room for words. When the question ends
 * while somebody writes, the field keeps its words and the focus. So no letter becomes a command.
 */
export function AnswerForm({ question, done, children }: FormProps) {
  const { question_id, options, multi_select } = question;
  const isOver = question.state !== 'open';
  const [draft, setDraft] = useState(() => draftOf(question_id));
  const [writes, setWrites] = useState(options.length === 0 || draft.text !== '');
  const [wantsFocus, setWantsFocus] = useState(false);
  const form = useRef<HTMLDivElement>(null);

  const change = (next: Draft) => {
    keepDraft(question_id, next);
    setDraft(next);
  };
  const send = (given: Draft) => {
    if (isOver || textOf(given) === '') return;
    answer(question, given);
    done();
  };
  const choose = (label: string) => {
    if (!multi_select) return send({ text: '', selected: [label] });
    const isChosen = draft.selected.includes(label);
    change({ ...draft, selected: isChosen ? draft.selected.filter(one => one !== label) : [...draft.selected, label] });
  };
  const field = () => form.current?.querySelector('textarea');
  const reply = () => {
    setWrites(true);
    setWantsFocus(true);
    field()?.focus();
  };
  // At once, so that the next key is the first letter.
  useLayoutEffect(() => {
    if (wantsFocus) field()?.focus();
    setWantsFocus(false);
  }, [wantsFocus]);

  // Keys act on the question that has the focus, so that a list that moves never gets the wrong answer.
  const card = () => form.current?.closest('[data-question]');
  const hasFocus = () => card()?.contains(document.activeElement) ?? false;
  const onCard = (work: () => void) => () => (!isOver && hasFocus() ? work() : false);
  useKeys({
    ...Object.fromEntries(
      options.slice(0, 9).map(({ label }, index) => [String(index + 1), onCard(() => choose(label))]),
    ),
    r: onCard(reply),
  });
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) send(draft);
    else if (event.key === 'Escape') (card() as HTMLElement | null)?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return html`<div class="answer" ref=${form}>
    ${
      isOver
        ? html`<${OptionList} question=${question} />`
        : multi_select
          ? html`<fieldset class="opts"><legend>Choose any number</legend>${options.map(
              ({ label, description }, index) => html`<label class="opt">
              <input type="checkbox" checked=${draft.selected.includes(label)} onChange=${() => choose(label)} />
              ${index < 9 && html`<kbd>${index + 1}</kbd>`}<${OptionText} label=${label} description=${description} /></label>`,
            )}</fieldset>`
          : options.length > 0 &&
            html`<div class="opts" role="group" aria-label="Options">${options.map(
              ({ label, description }, index) => html`<button type="button" class="opt" onClick=${() => choose(label)}>
              ${index < 9 && html`<kbd>${index + 1}</kbd>`}<${OptionText} label=${label} description=${description} /></button>`,
            )}</div>`
    }
    ${
      writes &&
      html`<label class="reply"><span class=${isOver ? 'quiet' : 'hidden'}>${isOver ? 'You had written' : 'Answer in words'}</span>
        <textarea rows="2" readonly=${isOver} maxlength="16384" placeholder="Answer in words" value=${draft.text} dir="auto"
          onInput=${(event: InputEvent) => change({ ...draft, text: (event.target as HTMLTextAreaElement).value })}
          onKeyDown=${onKeyDown}></textarea></label>`
    }
    ${
      !isOver &&
      html`<div class="foot">
      ${
        (writes || multi_select) &&
        html`<button type="button" class="btn primary" disabled=${textOf(draft) === ''} onClick=${() => send(draft)}>Send</button>`
      }
      ${
        writes
          ? html`<span class="hint"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span>`
          : html`<button type="button" class="quietly" onClick=${reply}><kbd>r</kbd> reply in words</button>`
      }
      ${children}
    </div>`
    }
  </div>`;
}

/** The same without buttons, for people who may only look, and for questions that have ended. */
export function OptionList({ question }: { question: Question }) {
  if (question.options.length === 0) return null;
  return html`<ul class="opts">${question.options.map(
    ({ label, description }) => html`<li class=${`opt ${question.selected.includes(label) ? 'hot' : ''}`}>
      <${OptionText} label=${label} description=${description} /></li>`,
  )}</ul>`;
}

function OptionText({ label, description }: { label: string; description?: string | undefined }) {
  return html`<span><${Said} text=${label} />${description && html` <small>— <${Said} text=${description} /></small>`}</span>`;
}
