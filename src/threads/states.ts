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

/** @throws Refusal THREAD_CLOSED or TRANSITION_NOT_ALLOWED, naming the moves that are allowed */
export function assertMove(from: ThreadState, to: ThreadState): void {
  if (from === to) return;
  if (from === 'closed') throw new Refusal('THREAD_CLOSED', 'The thread is closed; it takes no more changes.');
  if (!moves[from].includes(to)) {
    throw new Refusal('TRANSITION_NOT_ALLOWED', `A thread that is ${from} can move to ${moves[from].join(', ')}.`, {
      allowed: moves[from],
    });
  }
}
