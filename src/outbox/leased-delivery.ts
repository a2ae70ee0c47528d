import type { Row } from '../db/schema.ts';
import type { Attempt, Message } from './schemas.ts';

/** A row of the outbox. */
export type MessageRow = Row<'outbox'>;

/** A row of the outbox under a lease. */
export type LeasedRow = MessageRow & { lease_token: string };

/**
 * A message when its lease ends. The delays count from then, on the clock that leases are measured with. Without
 * `claimable_in` it cannot be claimed; without `available_in` its `available_at` stays.
 */
export type EndedRow = Omit<MessageRow, 'claimable_at' | 'available_at'> & {
  claimable_in?: number | null;
  available_in?: number | null;
};

/** A message to be inserted. Without `available_at` (epoch milliseconds) it is due at once. */
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
  | 'token_id'
> & { available_at?: number | undefined; created_at: number };

/** Counts of the messages with one topic and one status. */
export interface MessageCount {
  topic: string;
  status: MessageRow['status'];
  count: number;
  /** Publication time of the oldest due one. Epoch milliseconds; null if none is due. */
  oldest: number | null;
}

/** Identifies one claim. Every later write of the claim names it, and changes nothing once the token differs. */
export interface Lease {
  position: number;
  lease_token: string;
}

/** A claimed message: the worker holds its lease and hands it to a handler. */
export interface Delivery {
  lease: Lease;
  /** Null for a message without a key. */
  lane: string | null;
  row: MessageRow;
  /** The message as the handler gets it: a consumer's copy has the `message_id` of the published message. */
  message: Message;
  /** Name of the one handler it is for; null if it is not routed yet. */
  consumer: string | null;
  /** Epoch milliseconds. */
  claimedAt: number;
  /** The previous lease expired: its holder died, or could not renew it in time. */
  reclaimed: boolean;
  /** Earlier attempts, oldest first. */
  history: Attempt[];
}
