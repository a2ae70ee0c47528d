import type { Row } from '../db/schema.ts';
import type { Attempt, Message } from './schemas.ts';

/** A message as it is stored. */
export type MessageRow = Row<'outbox'>;

/** A message under a lease, as it is stored. */
export type LeasedRow = MessageRow & { lease_token: string };

/** What a message is before it has a place in the outbox. Without `available_at` it is available at once. */
export type NewMessageRow = Pick<
  MessageRow,
  | 'message_id'
  | 'topic'
  | 'message_key'
  | 'payload'
  | 'event_sequence'
  | 'max_attempts'
  | 'consumer'
  | 'origin_id'
  | 'traceparent'
> & { available_at?: number | undefined; created_at: number };

/** The messages of one topic that have one status. */
export interface MessageCount {
  topic: string;
  status: MessageRow['status'];
  count: number;
  /** When the first of them that is due was published. Epoch milliseconds; null if none is due. */
  oldest: number | null;
  /** How many of them are in a lane: a dead one that is blocks it. */
  in_lanes: number;
}

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
  row: MessageRow;
  /** The message as its handler sees it: as it was published. */
  message: Message;
  /** The one handler that it is for; null if that has not been decided. */
  consumer: string | null;
  /** Epoch milliseconds. */
  claimedAt: number;
  /** The lease before this one ran out: who held it has died, or could not renew it in time. */
  reclaimed: boolean;
  /** The attempts before this one. */
  history: Attempt[];
}

/** How one attempt to handle a message ended. */
export type Outcome =
  /** Handled. `result`: what the handler says that it made (JSON); kept on the message. */
  | { kind: 'sent'; result?: string }
  /** Several handlers: each gets a message of its own, and this one is done. */
  | { kind: 'routed'; consumers: string[] }
  /** Failed; to be tried again after `delayMs`. */
  | { kind: 'retry'; delayMs: number; error: string }
  /** Asked for another time (epoch milliseconds); no attempt is used up. */
  | { kind: 'postponed'; until: number; error: string }
  /** No more attempts. `blocks`: its lane waits until somebody replays or discards it. */
  | { kind: 'dead'; error: string; blocks: boolean }
  /** Nobody handles the topic; it waits until somebody does, and no attempt is used up. */
  | { kind: 'unhandled'; error: string }
  /** The worker stops before the handler has ended; no attempt is used up. */
  | { kind: 'released' };

/**
 * The lane of a message. Messages of one key share a lane; so do, apart from them, those of one key that are for one
 * consumer. The first character keeps the two kinds from meeting, whatever the key is.
 */
export function laneOf(message_key: string | null, consumer: string | null): string | null {
  if (message_key === null) return null;
  return consumer === null ? `=${message_key}` : `@${JSON.stringify([consumer, message_key])}`;
}

/** What a parked message waits for; neither topics nor the words before them contain a colon. */
export const parking = {
  handler: (topic: string, consumer: string | null) => `handler:${topic}${consumer === null ? '' : `:${consumer}`}`,
  resume: (topic: string) => `resume:${topic}`,
  parse(parked: string): { waitsFor: 'handler' | 'resume'; topic: string; consumer: string | null } {
    const [waitsFor, topic = '', ...consumer] = parked.split(':');
    return {
      waitsFor: waitsFor as 'handler' | 'resume',
      topic,
      consumer: consumer.length > 0 ? consumer.join(':') : null,
    };
  },
};
