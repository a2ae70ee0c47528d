import type { Row } from '../db/schema.ts';
import type { Attempt, Message } from './schemas.ts';

/** A row of the deliveries: one message for one subscription. */
export type DeliveryRow = Row<'deliveries'>;

/** A delivery under a lease. */
export type LeasedRow = DeliveryRow & { lease_token: string; subscription_id: number };

/**
 * A delivery when its lease ends. The delays count from then, on the clock that leases are measured with. Without
 * `claimable_in` it cannot be claimed; without `available_in` its `available_at` stays.
 */
export type EndedRow = Pick<
  DeliveryRow,
  'status' | 'attempts' | 'queued' | 'parked' | 'last_error' | 'history' | 'updated_at'
> & { claimable_in?: number | null; available_in?: number | null };

/** Counts of the deliveries of one subscription with one topic and one status. */
export interface DeliveryCount {
  /** Null if no subscription matches the topic. */
  subscription_id: number | null;
  topic: string;
  status: DeliveryRow['status'];
  count: number;
  /** Publication time of the oldest due one. Epoch milliseconds; null if none is due. */
  oldest: number | null;
}

/** Identifies one claim. Every later write of the claim names it, and changes nothing once the token differs. */
export interface Lease {
  position: number;
  lease_token: string;
}

/** How many more deliveries of a subscription may be leased. */
export type RoomOf = (subscription_id: number) => number;

/** A claimed delivery: the worker holds its lease and hands it to the handler of its subscription. */
export interface LeasedDelivery {
  lease: Lease;
  row: LeasedRow;
  /** The message as the handler gets it. */
  message: Message;
  /** Its run was erased: it is not to be handled. */
  erased: boolean;
  /** Name of the subscription. */
  consumer: string;
  /** Trace and token of the request that published the message. */
  traceparent: string | null;
  tokenId: string | null;
  /** Epoch milliseconds. */
  claimedAt: number;
  /** The previous lease expired: its holder died, or could not renew it in time. */
  reclaimed: boolean;
  /** Earlier attempts, oldest first. */
  history: Attempt[];
}
