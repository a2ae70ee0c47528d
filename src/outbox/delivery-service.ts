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
  /** Length of a lease. Milliseconds. */
  leaseMs: number;
  commits: CommitNotifier;
}

/** A delivery that is sent or routed, and its attempt history (JSON). */
interface Finished {
  delivery: Delivery;
  history: string;
}

/** Claims per transaction: each round may find only messages of paused topics, which it parks. */
const CLAIM_ROUNDS = 50;

/** The worker's side of the outbox: claims deliveries under leases, and settles each one while its lease is held. */
export function createDeliveryService(dependencies: Dependencies) {
  const { db, clock, newUid, events, workerName, leaseMs, commits } = dependencies;
  const claimable = () => commits.notify('claimable');

  /** Settles deliveries in `tx`. Answers for each whether its lease was held; if not, its row is unchanged. */
  async function settleIn(tx: Tx, settlements: Settlement[]): Promise<boolean[]> {
    const held = await endLeases(tx, settlements);
    const settled = settlements.filter(({ delivery }) => held.has(delivery));
    const left = settled.filter(({ outcome }) => leavesLane(outcome)).map(({ delivery }) => delivery.lane);
    const lanes = left.filter(lane => lane !== null);
    promoteNext(tx, lanes);
    for (const { delivery, outcome } of settled) {
      if (outcome.kind === 'sent') {
        countSent(tx, delivery.message.topic);
        storeResult(tx, delivery.row, outcome);
      } else if (outcome.kind === 'routed') {
        const messages = outcome.consumers.map(consumer => copyFor(delivery, consumer));
        insertMessages(tx, messages);
      }
    }
    if (settled.length > 0) tx.afterCommit(claimable);
    return settlements.map(({ delivery }) => held.has(delivery));
  }

  /** Ends the leases that are still held, and answers their deliveries. */
  async function endLeases(tx: Tx, settlements: Settlement[]): Promise<Set<Delivery>> {
    const now = clock.now();
    const finished: Finished[] = [];
    const endings: Promise<Delivery[]>[] = [];
    for (const { delivery, outcome } of settlements) {
      if (isDone(outcome)) finished.push({ delivery, history: historyWith(delivery, 'sent', null, now, workerName) });
      else endings.push(end(tx, delivery, changesOf(delivery, outcome, now, workerName)));
    }
    // Most deliveries of a claim are done at their first attempt and change alike: one statement settles them all.
    const groups = Map.groupBy(finished, ({ delivery, history }) => `${delivery.lease.lease_token} ${history}`);
    for (const group of groups.values()) endings.push(endGroup(tx, group, now));
    return new Set((await Promise.all(endings)).flat());
  }

  async function end(tx: Tx, delivery: Delivery, changes: Partial<EndedRow>): Promise<Delivery[]> {
    const { lease, row } = delivery;
    return (await endLease(tx, lease.lease_token, { ...row, ...changes })) ? [delivery] : [];
  }

  /** Marks deliveries of one claim with the same history sent. */
  async function endGroup(tx: Tx, group: Finished[], now: number): Promise<Delivery[]> {
    const [{ delivery, history }] = group as [Finished];
    const { lease_token } = delivery.lease;
    const positions = group.map(({ delivery: { lease } }) => lease.position);
    const held = new Set(await markSent(tx, positions, { lease_token, history, now }));
    return group.map(one => one.delivery).filter(({ lease }) => held.has(lease.position));
  }

  /** Stores a handler's result on its message; for a consumer's copy, on the published message as well. */
  function storeResult(tx: Tx, { message_id, origin_id }: MessageRow, { result }: { result?: string }): void {
    if (result !== undefined) updateResult(tx, origin_id === null ? [message_id] : [message_id, origin_id], result);
  }

  /** A copy of a message for one of its several consumers. */
  function copyFor({ message, row }: Delivery, consumer: string) {
    const { message_id, topic, message_key, max_attempts } = message;
    const { payload, event_sequence, traceparent } = row;
    const content = { topic, message_key, payload, event_sequence, traceparent, max_attempts, created_at: clock.now() };
    return { message_id: `${message_id}~${consumer}`, origin_id: message_id, consumer, ...content };
  }

  /** Claims in `tx`. Messages of paused topics are parked instead, until their topic is resumed. */
  async function claimIn(tx: Tx, limit: number, lease_token: string, now: number): Promise<LeasedRow[]> {
    const claimed: LeasedRow[] = [];
    for (let round = 0; round < CLAIM_ROUNDS && claimed.length < limit; round += 1) {
      const claim = { limit: limit - claimed.length, lease_token, leased_by: workerName, leaseMs, now };
      const rows = await claimMessages(tx, claim);
      const paused = new Set(rows.length > 0 ? await pausedTopics(tx) : []);
      claimed.push(...rows.filter(row => !paused.has(row.topic)));
      const toPark = rows.filter(row => paused.has(row.topic));
      for (const row of toPark) await park(tx, row);
      // Other due messages may follow the parked ones.
      if (toPark.length === 0) break;
      if (round === CLAIM_ROUNDS - 1) tx.afterCommit(claimable);
    }
    return claimed.sort((a, b) => a.position - b.position);
  }

  async function park(tx: Tx, row: LeasedRow): Promise<void> {
    const status = row.last_error === null ? 'pending' : 'failed';
    const parked = { parked: parking.resume(row.topic), attempts: row.attempts - 1 };
    await endLease(tx, row.lease_token, { ...row, status, ...parked });
  }

  return {
    /** Claims up to `limit` due messages for this process. */
    async claim(limit: number): Promise<Delivery[]> {
      const token = newUid();
      const now = clock.now();
      // Payloads are read in the claim's transaction: a read that failed later would leave leases without a worker.
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

    /** Renews these leases, and answers the ones that are still held. */
    renew: (leases: Lease[]): Promise<Lease[]> => db.write(tx => renewLeases(tx, leases, leaseMs)),

    /** Answers for each delivery whether its lease was held; if not, its row is unchanged. */
    async settle(settlements: Settlement[]): Promise<boolean[]> {
      return db.write(tx => settleIn(tx, settlements));
    },

    /**
     * Runs `effect` in the transaction that marks the message sent: both commit, or neither.
     * Answers false, without calling `effect`, if the lease has been lost.
     * @param traceparent W3C Trace Context of the effect; by default the one of the message
     * @throws whatever `effect` throws; the transaction is rolled back and the lease is still held
     */
    async settleWith(
      delivery: Delivery,
      effect: (tx: Tx) => Promise<Outcome & { kind: 'sent' }>,
      traceparent = delivery.row.traceparent,
    ): Promise<boolean> {
      const work = async (tx: Tx) => {
        const [held] = await settleIn(tx, [{ delivery, outcome: { kind: 'sent' } }]);
        if (!held) return false;
        storeResult(tx, delivery.row, await effect(tx));
        return true;
      };
      // Alone: another write's failure must not roll back a handler's effect, nor the reverse.
      return db.write(work, { alone: true, traceparent });
    },

    /** Resumes a paused topic and unparks a first batch of its messages; the maintenance job unparks the rest. */
    async resume(tx: Tx, topic: string): Promise<void> {
      await setPaused(tx, topic, 0);
      await unpark(tx, parking.resume(topic), UNPARK_BATCH);
      tx.afterCommit(claimable);
    },

    /** Names of the consumers whose own copies wait in lanes. */
    consumersInLanes: (): Promise<string[]> => consumersInLanes(db.read),
  };
}
