import type { Attempt, Message } from './schemas.ts';

/** Which claim a later write belongs to; it changes nothing once the row's token is another one. */
export interface Lease {
  position: number;
  lease_token: string;
}

/** A message on its way to its handler, under a lease. */
export interface Delivery {
  lease: Lease;
  /** The lane that waits for it; null for a message without a key. */
  lane: string | null;
  message: Message;
  /** Epoch milliseconds. */
  claimedAt: number;
  /** The attempts before this one. */
  history: Attempt[];
}

/** How one attempt to handle a message ended. */
export type Outcome =
  | { kind: 'sent' }
  /** Failed; to be tried again after `delayMs`. */
  | { kind: 'retry'; delayMs: number; error: string }
  /** Asked for another time (epoch milliseconds); no attempt is used up. */
  | { kind: 'postponed'; until: number; error: string }
  | { kind: 'dead'; error: string }
  /** Nobody handles the topic; it waits until somebody does, and no attempt is used up. */
  | { kind: 'unhandled'; error: string }
  /** The worker stops before the handler has ended; no attempt is used up. */
  | { kind: 'released' };
