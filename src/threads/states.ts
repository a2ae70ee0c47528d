import { Refusal } from '../errors.ts';

export const threadStates = ['new', 'triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'] as const;
export type ThreadState = (typeof threadStates)[number];

/** The allowed moves from each state. A move to the current state is always allowed and changes nothing. */
export const moves: Record<ThreadState, readonly ThreadState[]> = {
  new: ['triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'],
  triaged: ['waiting_operator', 'waiting_human', 'answered', 'closed'],
  waiting_operator: ['waiting_human', 'answered', 'triaged', 'closed'],
  waiting_human: ['waiting_operator', 'answered', 'triaged', 'closed'],
  answered: ['waiting_operator', 'waiting_human', 'closed'],
  closed: [],
};

/**
 * Checks a move. A thread with open questions may only move to `waiting_operator` or `closed`.
 * @param openQuestions the number of open questions in the thread
 * @throws Refusal THREAD_CLOSED; TRANSITION_NOT_ALLOWED, whose `allowed` lists the allowed states
 */
export function assertMove(from: ThreadState, to: ThreadState, openQuestions: number): void {
  if (from === to) return;
  if (from === 'closed') throw new Refusal('THREAD_CLOSED', 'The thread is closed and cannot change.');
  const hasOpenQuestions = openQuestions > 0;
  const allowed = hasOpenQuestions
    ? moves[from].filter(state => state === 'waiting_operator' || state === 'closed')
    : moves[from];
  if (allowed.includes(to)) return;
  const subject = hasOpenQuestions ? 'A control thread with open questions' : `A thread in state ${from}`;
  throw new Refusal('TRANSITION_NOT_ALLOWED', `${subject} can move to ${allowed.join(', ')}.`, { allowed });
}
