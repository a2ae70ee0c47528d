import { signal } from '@preact/signals-core';
import { isPassing } from '../../client/error.ts';
import type { Question } from '../../client/index.ts';
import { pause } from './gather.ts';
import { type Draft, draftOf, EMPTY, isOwn, keepDraft, put, questions, sent } from './inbox-store.ts';
import { client, isRefusal, leave, present, sentenceOf } from './service.ts';
import { asMe, hasEnded } from './session.ts';

/** The time for an undo. Milliseconds. */
const UNDO_MS = 5000;
/** How long before its question expires an answer is sent. Milliseconds. */
const EARLY_MS = 1000;
/** How much may wait for an undo: browsers send 64 KiB of a page that is left. Bytes. */
const WAITING_MOST = 60_000;
/** After an attempt that found no service. Milliseconds. */
const AGAIN_MS = 2000;

/** An answer that can still be undone. */
export interface Pending {
  question: Question;
  answer: Draft;
  /** Answers that were given together, and are undone together, have the same. */
  batch: symbol;
  /** Epoch milliseconds. */
  due: number;
  timer: ReturnType<typeof setTimeout>;
}

export const pending = signal<readonly Pending[]>([]);
/** A sentence about the answer to a question, by its id. */
export const notices = signal<ReadonlyMap<string, string>>(new Map());

export const isPending = (question_id: string) =>
  pending.value.some(({ question }) => question.question_id === question_id);

export const textOf = ({ text, selected }: Draft) => (text.trim() === '' ? selected.join(', ') : text.trim());

/** Sends an answer unless it is undone in time. What the person has written stays as a draft until it has arrived. */
export function answer(question: Question, given: Draft, batch = Symbol()): void {
  const { question_id } = question;
  if (isPending(question_id)) return;
  say(question_id, undefined);
  const waiting = [...pending.value.map(one => one.answer), given].map(one => JSON.stringify(requestOf(one)));
  const isFull = new Blob(waiting).size > WAITING_MOST;
  const now = present();
  const end = question.expires_at === null ? Number.POSITIVE_INFINITY : Date.parse(question.expires_at) - EARLY_MS;
  const due = isFull ? now : Math.min(now + UNDO_MS, end);
  const timer = setTimeout(() => void send(question_id), due - now);
  pending.value = [...pending.value, { question, answer: given, batch, due, timer }];
}

/** The last answers that can be undone: one, or those that were given together. */
export function undoable(): Pending[] {
  const now = present();
  const last = pending.value.findLast(({ due }) => due > now);
  return pending.value.filter(({ batch, due }) => batch === last?.batch && due > now);
}

/** Takes the last answers back. */
export function undo(): void {
  const last = undoable();
  pending.value = pending.value.filter(other => !last.includes(other));
  for (const { timer } of last) clearTimeout(timer);
}

const TOO_LATE = 'Your answer came later and was not taken.';

async function send(question_id: string): Promise<void> {
  const entry = pending.value.find(({ question }) => question.question_id === question_id);
  if (!entry) return;
  clearTimeout(entry.timer);
  // It can no longer be undone: what shows it is drawn again.
  pending.value = [...pending.value];
  const { question } = entry;
  const request = requestOf(entry.answer);
  sent.add(question_id);
  while (pending.value.includes(entry)) {
    try {
      // What one of two people has answered meanwhile is no reason to refuse the other's answer.
      const { version, approvals_required } = question;
      put([await client.answer(question_id, request, approvals_required > 1 ? {} : { version })]);
      keepDraft(question_id, EMPTY);
      say(question_id, undefined);
    } catch (error) {
      if (isPassing(error)) {
        say(question_id, 'Not sent yet: it is sent as soon as the service answers.');
        await pause(AGAIN_MS);
        continue;
      }
      if (!hasEnded(error)) await explain(question_id, error);
    }
    pending.value = pending.value.filter(other => other !== entry);
  }
}

function requestOf({ text, selected }: Draft) {
  const answer = text.trim();
  return {
    ...(answer && { answer }),
    ...(selected.length > 0 && { selected }),
    ...asMe(),
    answered_in: 'page' as const,
  };
}

/** Somebody else was faster: the question shows the outcome. Anything else leaves the draft to be sent again. */
async function explain(question_id: string, error: unknown): Promise<void> {
  const late = ['ALREADY_ANSWERED', 'QUESTION_CLOSED', 'PRECONDITION_FAILED', 'THREAD_CLOSED', 'RUN_CLOSED'];
  if (!isRefusal(error, ...late)) {
    say(question_id, `Not sent. ${sentenceOf(error)}`);
    return;
  }
  say(question_id, TOO_LATE);
  await client.question(question_id).then(
    winner => put([winner]),
    () => {},
  );
}

function say(question_id: string, sentence: string | undefined): void {
  const next = new Map(notices.value);
  if (sentence === undefined) next.delete(question_id);
  else next.set(question_id, sentence);
  notices.value = next;
}

/** A question that has ended takes no answer any more: one that waits for its undo is dropped. */
export function dropEnded(ended: Question): void {
  const entry = pending.value.find(({ question }) => question.question_id === ended.question_id);
  if (!entry || ended.state === 'open') return;
  clearTimeout(entry.timer);
  pending.value = pending.value.filter(other => other !== entry);
  if (isOwn(ended)) keepDraft(ended.question_id, EMPTY);
  else say(ended.question_id, TOO_LATE);
}

/** A page that is left sends at once what waits for its undo. */
export const sendAllNow = (): Promise<unknown> =>
  leave(() => Promise.all(pending.value.map(({ question }) => send(question.question_id))));

/** One answer for several questions: each as it was seen. */
export function answerAll(ids: readonly string[], given: Draft): void {
  const batch = Symbol();
  for (const id of ids) {
    const question = questions.value.get(id);
    if (question?.state !== 'open') continue;
    if (given.text !== '' && draftOf(id).text === '') keepDraft(id, given);
    answer(question, given, batch);
  }
}
