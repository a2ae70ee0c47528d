import { Refusal } from '../errors.ts';

export const threadStates = ['new', 'triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'] as const;
export type ThreadState = (typeof threadStates)[number];

/** Which states a thread may move to from each state. Staying where it is changes nothing and is always allowed. */
export const moves: Record<ThreadState, readonly ThreadState[]> = {
  new: ['triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'],
  triaged: ['waiting_operator', 'waiting_human', 'answered', 'closed'],
  waiting_operator: ['waiting_human', 'answered', 'triaged', 'closed'],
  waiting_human: ['waiting_operator', 'answered', 'triaged', 'closed'],
  answered: ['waiting_operator', 'waiting_human', 'closed'],
  closed: [],
};

/**
 * @param openQuestions how many questions wait in the thread; while there are any it waits for the operator, or is closed
 * @throws Refusal THREAD_CLOSED or TRANSITION_NOT_ALLOWED, naming the moves that are allowed
 */
export function assertMove(from: ThreadState, to: ThreadState, openQuestions: number): void {
  if (from === to) return;
  if (from === 'closed') throw new Refusal('THREAD_CLOSED', 'The thread is closed; it takes no more changes.');
  const waits = openQuestions > 0;
  const allowed = waits ? moves[from].filter(state => state === 'waiting_operator' || state === 'closed') : moves[from];
  if (allowed.includes(to)) return;
  const subject = waits ? 'A control thread with open questions' : `A thread that is ${from}`;
  throw new Refusal('TRANSITION_NOT_ALLOWED', `${subject} can move to ${allowed.join(', ')}.`, { allowed });
}
