import type { Clock, NewUid } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import type { Database, Tx } from '../db/database.ts';
import type { EventLog } from '../events/service.ts';
import { parking } from './lane.ts';
import {
  claimMessages,
  consumersInLanes,
  endLease,
  insertMessages,
  isReclaimed,
  leasesOf,
  markSent,
  overtaking,
  promoteNext,
  putOldestFirst,
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
  events: Pick<EventLog, 'at'>;
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
  /** Lease tokens of claims whose commit failed with an unknown outcome. */
  const uncertain = new Set<string>();

  /** Settles deliveries in `tx`. Answers for each whether its lease was held; if not, its row is unchanged. */
  async function settleIn(tx: Tx, settlements: Settlement[]): Promise<boolean[]> {
    const held = await endLeases(tx, settlements);
    const settled = settlements.filter(({ delivery }) => held.has(delivery));
    const lanes = (leaving: boolean) =>
      settled
        .filter(({ outcome }) => leavesLane(outcome) === leaving)
        .map(({ delivery }) => delivery.lane)
        .filter(lane => lane !== null);
    promoteNext(tx, lanes(true));
    // An older message may have been replayed meanwhile.
    putOldestFirst(tx, lanes(false));
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
    const { payload, event_sequence, traceparent, token_id } = row;
    const cause = { traceparent, token_id };
    const content = { topic, message_key, payload, event_sequence, ...cause, max_attempts, created_at: clock.now() };
    return { message_id: `${message_id}~${consumer}`, origin_id: message_id, consumer, ...content };
  }

  /**
   * Claims in `tx`. Messages of paused topics are parked instead, until their topic is resumed. A message whose lease
   * expired is released if an older message of its lane was replayed meanwhile.
   */
  async function claimIn(tx: Tx, limit: number, lease_token: string, now: number): Promise<LeasedRow[]> {
    const claimed: LeasedRow[] = [];
    for (let round = 0; round < CLAIM_ROUNDS && claimed.length < limit; round += 1) {
      const claim = { limit: limit - claimed.length, lease_token, leased_by: workerName, leaseMs, now };
      const rows = await claimMessages(tx, claim);
      const late = await overtaking(
        tx,
        rows.filter(isLate).map(row => row.position),
      );
      const overtakers = rows.filter(row => late.has(row.position));
      await release(tx, overtakers);
      const first = rows.filter(row => !late.has(row.position));
      const paused = new Set(first.length > 0 ? await pausedTopics(tx) : []);
      claimed.push(...first.filter(row => !paused.has(row.topic)));
      const toPark = first.filter(row => paused.has(row.topic));
      for (const row of toPark) await unclaim(tx, row, { parked: parking.resume(row.topic) });
      // Other due messages may follow the parked and released ones.
      if (toPark.length + overtakers.length === 0) break;
      if (round === CLAIM_ROUNDS - 1) tx.afterCommit(claimable);
    }
    return claimed.sort((a, b) => a.position - b.position);
  }

  /** Undoes a claim: no attempt is used. */
  async function unclaim(tx: Tx, row: LeasedRow, place: Pick<EndedRow, 'parked' | 'claimable_in'>): Promise<void> {
    const status = row.last_error === null ? 'pending' : 'failed';
    await endLease(tx, row.lease_token, { ...row, status, ...place, attempts: row.attempts - 1 });
  }

  /** Undoes claims of messages that are due again at once. */
  async function release(tx: Tx, rows: LeasedRow[]): Promise<void> {
    for (const row of rows) await unclaim(tx, row, { parked: null, claimable_in: 0 });
    putOldestFirst(
      tx,
      rows.map(row => row.lane).filter(lane => lane !== null),
    );
  }

  /** Releases the leases of claims whose commit may or may not have succeeded: no worker holds them. */
  async function releaseUncertain(tx: Tx, tokens: string[]): Promise<void> {
    if (tokens.length > 0) await release(tx, await leasesOf(tx, workerName, tokens));
  }

  return {
    /** Claims up to `limit` due messages for this process. */
    async claim(limit: number): Promise<Delivery[]> {
      const token = newUid();
      const now = clock.now();
      const before = [...uncertain];
      // Payloads are read in the claim's transaction: a read that failed later would leave leases without a worker.
      const claiming = db.write(async tx => {
        await releaseUncertain(tx, before);
        const claimed = await claimIn(tx, limit, token, now);
        return { rows: claimed, messages: await toMessages(events, tx, claimed) };
      });
      const { rows, messages } = await claiming.catch(error => {
        uncertain.add(token);
        throw error;
      });
      for (const known of before) uncertain.delete(known);
      const contents = new Set<unknown>();
      return rows.map((row, index) => ({
        lease: { position: row.position, lease_token: row.lease_token },
        lane: row.lane,
        row,
        message: { ...ownContent(messages[index] as Message, contents), message_id: row.origin_id ?? row.message_id },
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
      return db.write(work, { alone: true, traceparent, tokenId: delivery.row.token_id });
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

/** It has a lane, and its lease ran out before this claim. */
function isLate({ lane, lease_token }: LeasedRow): boolean {
  return lane !== null && isReclaimed(lease_token);
}

/** Copies for several consumers carry one event; each gets it for itself, since a handler may change what it is given. */
function ownContent(message: Message, taken: Set<unknown>): Message {
  const { payload } = message;
  if (typeof payload !== 'object' || payload === null) return message;
  if (taken.has(payload)) return { ...message, payload: structuredClone(payload) };
  taken.add(payload);
  return message;
}
