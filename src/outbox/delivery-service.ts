import type { Clock, NewUid } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import type { Database, Tx } from '../db/database.ts';
import type { Events } from '../events/service.ts';
import { parking } from './lane.ts';
import {
  claimMessages,
  consumersInLanes,
  endLease,
  insertMessages,
  isReclaimed,
  markSent,
  promoteNext,
  renewLeases,
  unpark,
} from './lease-repository.ts';
import type { Delivery, EndedRow, Lease, LeasedRow, MessageRow } from './leased-delivery.ts';
import { UNPARK_BATCH } from './maintenance.ts';
import { toMessages } from './message.ts';
import { changesOf, historyWith, isDone, leavesLane, type Outcome, type Settlement } from './outcome.ts';
import { countSent, pausedTopics, setPaused, updateResult } from './repository.ts';
import type { Message } from './schemas.ts';

export type DeliveryService = ReturnType<typeof createDeliveryService>;

interface Dependencies {
  db: Database;
  clock: Clock;
  newUid: NewUid;
  events: Pick<Events, 'at'>;
  /** Names this process in leases and attempt histories. */
  workerName: string;
  leaseMs: number;
  commits: CommitNotifier;
}

/** A delivery whose message is done, and the attempts that it took (JSON). */
interface Finished {
  delivery: Delivery;
  history: string;
}

/** How often one transaction looks behind messages of paused topics. */
const CLAIM_ROUNDS = 50;

/** Messages as workers see them: taken under a lease, settled by whoever still holds it. */
export function createDeliveryService(dependencies: Dependencies) {
  const { db, clock, newUid, events, workerName, leaseMs, commits } = dependencies;
  const claimable = () => commits.notify('claimable');

  /** Settles deliveries in `tx`. For each: false, and nothing changed, if its lease has been lost. */
  async function settleIn(tx: Tx, settlements: Settlement[]): Promise<boolean[]> {
    const held = await endLeases(tx, settlements);
    const stored = settlements.filter(({ delivery }) => held.has(delivery));
    const left = stored.filter(({ outcome }) => leavesLane(outcome)).map(({ delivery }) => delivery.lane);
    const lanes = left.filter(lane => lane !== null);
    promoteNext(tx, lanes);
    for (const { delivery, outcome } of stored) {
      if (outcome.kind === 'sent') {
        countSent(tx, delivery.message.topic);
        keepResult(tx, delivery.row, outcome);
      } else if (outcome.kind === 'routed') {
        const messages = outcome.consumers.map(consumer => forConsumer(delivery, consumer));
        insertMessages(tx, messages);
      }
    }
    if (stored.length > 0) tx.afterCommit(claimable);
    return settlements.map(({ delivery }) => held.has(delivery));
  }

  /** Ends the leases that are still held and answers the deliveries that they were of. */
  async function endLeases(tx: Tx, settlements: Settlement[]): Promise<Set<Delivery>> {
    const now = clock.now();
    const finished: Finished[] = [];
    const ended: Promise<Delivery[]>[] = [];
    for (const { delivery, outcome } of settlements) {
      if (isDone(outcome)) finished.push({ delivery, history: historyWith(delivery, 'sent', null, now, workerName) });
      else ended.push(end(tx, delivery, changesOf(delivery, outcome, now, workerName)));
    }
    // Most of a claim are done at their first attempt: what becomes of them is the same, and one statement says it.
    const alike = Map.groupBy(finished, ({ delivery, history }) => `${delivery.lease.lease_token} ${history}`);
    for (const group of alike.values()) ended.push(endAlike(tx, group, now));
    return new Set((await Promise.all(ended)).flat());
  }

  async function end(tx: Tx, delivery: Delivery, changes: Partial<EndedRow>): Promise<Delivery[]> {
    const { lease, row } = delivery;
    return (await endLease(tx, lease.lease_token, { ...row, ...changes })) ? [delivery] : [];
  }

  async function endAlike(tx: Tx, group: Finished[], now: number): Promise<Delivery[]> {
    const [{ delivery, history }] = group as [Finished];
    const { lease_token } = delivery.lease;
    const positions = group.map(({ delivery: { lease } }) => lease.position);
    const held = new Set(await markSent(tx, positions, { lease_token, history, now }));
    return group.map(one => one.delivery).filter(({ lease }) => held.has(lease.position));
  }

  /** On the message, and on the one that was published if this is one of its copies for several consumers. */
  function keepResult(tx: Tx, { message_id, origin_id }: MessageRow, { result }: { result?: string }): void {
    if (result !== undefined) updateResult(tx, origin_id === null ? [message_id] : [message_id, origin_id], result);
  }

  /** The message of one consumer among several. */
  function forConsumer({ message, row }: Delivery, consumer: string) {
    const { message_id, topic, message_key, max_attempts } = message;
    const { payload, event_sequence, traceparent } = row;
    const content = { topic, message_key, payload, event_sequence, traceparent, max_attempts, created_at: clock.now() };
    return { message_id: `${message_id}~${consumer}`, origin_id: message_id, consumer, ...content };
  }

  /** Claims in `tx`; messages of paused topics are put aside instead, until their topic is resumed. */
  async function claimIn(tx: Tx, limit: number, lease_token: string, now: number): Promise<LeasedRow[]> {
    const claimed: LeasedRow[] = [];
    for (let round = 0; round < CLAIM_ROUNDS && claimed.length < limit; round += 1) {
      const claim = { limit: limit - claimed.length, lease_token, leased_by: workerName, leaseMs, now };
      const rows = await claimMessages(tx, claim);
      const paused = new Set(rows.length > 0 ? await pausedTopics(tx) : []);
      claimed.push(...rows.filter(row => !paused.has(row.topic)));
      const held = rows.filter(row => paused.has(row.topic));
      for (const row of held) await putAside(tx, row);
      // Others may be due behind those that were put aside.
      if (held.length === 0) break;
      if (round === CLAIM_ROUNDS - 1) tx.afterCommit(claimable);
    }
    return claimed.sort((a, b) => a.position - b.position);
  }

  async function putAside(tx: Tx, row: LeasedRow): Promise<void> {
    const status = row.last_error === null ? 'pending' : 'failed';
    const aside = { parked: parking.resume(row.topic), attempts: row.attempts - 1 };
    await endLease(tx, row.lease_token, { ...row, status, ...aside });
  }

  return {
    /** Leases up to `limit` due messages to this process. */
    async claim(limit: number): Promise<Delivery[]> {
      const token = newUid();
      const now = clock.now();
      // Read in the claim's own transaction: a read that failed after it would leave leases that nobody works on.
      const { rows, messages } = await db.write(async tx => {
        const claimed = await claimIn(tx, limit, token, now);
        return { rows: claimed, messages: await toMessages(events, tx, claimed) };
      });
      return rows.map((row, index) => ({
        lease: { position: row.position, lease_token: row.lease_token },
        lane: row.lane,
        row,
        message: { ...(messages[index] as Message), message_id: row.origin_id ?? row.message_id },
        consumer: row.consumer,
        claimedAt: now,
        reclaimed: isReclaimed(row.lease_token),
        history: JSON.parse(row.history),
      }));
    },

    /** Prolongs these leases and answers those that are still held. */
    renew: (leases: Lease[]): Promise<Lease[]> => db.write(tx => renewLeases(tx, leases, leaseMs)),

    /** For each: false, and nothing changed, if its lease has been lost. */
    async settle(settlements: Settlement[]): Promise<boolean[]> {
      return db.write(tx => settleIn(tx, settlements));
    },

    /**
     * Runs `effect` in the transaction that marks the message sent: both happen, or neither.
     * False, and the effect not begun, if the lease has been lost.
     * @param traceparent of the effect; by default the message's own
     */
    async settleWith(
      delivery: Delivery,
      effect: (tx: Tx) => Promise<Outcome & { kind: 'sent' }>,
      traceparent = delivery.row.traceparent,
    ): Promise<boolean> {
      const work = async (tx: Tx) => {
        const [held] = await settleIn(tx, [{ delivery, outcome: { kind: 'sent' } }]);
        if (!held) return false;
        keepResult(tx, delivery.row, await effect(tx));
        return true;
      };
      // A handler is called once per attempt, and nobody shares the fate of what it does.
      return db.write(work, { alone: true, traceparent });
    },

    /** Releases a topic that was paused. What one transaction cannot free of it is freed by the housekeeping of any worker. */
    async resume(tx: Tx, topic: string): Promise<void> {
      await setPaused(tx, topic, 0);
      await unpark(tx, parking.resume(topic), UNPARK_BATCH);
      tx.afterCommit(claimable);
    },

    /** The consumers that have messages of their own waiting in lanes. */
    consumersInLanes: (): Promise<string[]> => consumersInLanes(db.read),
  };
}
