import type { Row } from '../db/schema.ts';
import type { Attempt, Message } from './schemas.ts';

/** A message as it is stored. */
export type MessageRow = Row<'outbox'>;

/** A message under a lease, as it is stored. */
export type LeasedRow = MessageRow & { lease_token: string };

/**
 * A message as it is when its lease has ended. From now on it is claimable in so many milliseconds, and says so; without
 * them it is not claimable, or says what it said.
 */
export type EndedRow = Omit<MessageRow, 'claimable_at' | 'available_at'> & {
  claimable_in?: number | null;
  available_in?: number | null;
};

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
