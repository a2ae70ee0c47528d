import type { Clock, NewUid } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import type { Database, Tx } from '../db/database.ts';
import type { EventLog } from '../events/service.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import {
  type Claim,
  claimDue,
  countSent,
  endLeases,
  isReclaimed,
  type NextClaim,
  pausedTopics,
  promoteNext,
  SUBSCRIPTIONS_PER_CLAIM,
  updateResult,
} from './delivery-repository.ts';
import { createFanOut } from './fan-out.ts';
import { overtaking, putOldestFirst, unpark } from './lane-repository.ts';
import { leasesOf, renewLeases } from './lease-repository.ts';
import type { Lease, LeasedDelivery, LeasedRow, RoomOf } from './leased-delivery.ts';
import { UNPARK_BATCH } from './maintenance.ts';
import { type ContentOf, readContents, toMessage } from './message.ts';
import { endedBy, leavesLane, type Outcome, type Settled, type Settlement } from './outcome.ts';
import { setPaused } from './repository.ts';

export type DeliveryService = ReturnType<typeof createDeliveryService>;

interface Dependencies {
  db: Database;
  clock: Clock;
  newUid: NewUid;
  events: Pick<EventLog, 'carried' | 'latest' | 'outlines'>;
  subscriptions: Pick<SubscriptionService, 'own' | 'current' | 'move'>;
  /** Names this process in leases and attempt histories. */
  workerName: string;
  /** Length of a lease. Milliseconds. */
  leaseMs: number;
  maxAttempts: number;
  commits: Pick<CommitNotifier, 'notify'>;
}

/** What claims, renewals and settlements touch. */
const DELIVERIES = { touches: ['deliveries'] } as const;
/** An effect of a handler that takes longer has held others up. Milliseconds. */
const LONG_EFFECT_MS = 100;
/** Claims per transaction: each round may find only messages of paused topics, which it parks. */
const CLAIM_ROUNDS = 50;

/** The worker's side of the outbox: claims deliveries under leases, and settles each one while its lease is held. */
export function createDeliveryService(dependencies: Dependencies) {
  const { db, clock, newUid, events, subscriptions, workerName, leaseMs, maxAttempts, commits } = dependencies;
  const fanOut = createFanOut({ events, subscriptions });
  const claimable = () => commits.notify('claimable');
  /** Lease tokens of claims whose commit failed with an unknown outcome. */
  const uncertain = new Set<string>();
  /** Where the next claim begins among many subscriptions. */
  let turn = 0;

  /**
   * Settles deliveries in `tx`. Answers for each whether its lease was held; if not, its row is unchanged.
   * @param claim claims what follows them in their lanes
   */
  async function settleIn(
    tx: Tx,
    settlements: Settlement[],
    claim?: NextClaim,
  ): Promise<{ held: boolean[]; next: LeasedRow[] }> {
    const held = await endHeld(tx, settlements);
    const settled = settlements.filter(({ delivery }) => held.has(delivery));
    const inLanes = (leaving: boolean) =>
      settled
        .filter(({ delivery, outcome }) => delivery.row.queued === 1 && leavesLane(outcome) === leaving)
        .map(({ delivery }) => delivery.lease.position);
    const promoting = promoteNext(tx, inLanes(true), claim);
    // An older message may have been replayed meanwhile.
    putOldestFirst(tx, inLanes(false));
    for (const { delivery, outcome } of settled) {
      if (outcome.kind !== 'sent') continue;
      countSent(tx, delivery.message.topic);
      storeResult(tx, delivery, outcome);
    }
    // Else nothing has become claimable: the lanes that were left are empty.
    const areLeaving = settled.every(({ outcome }) => leavesLane(outcome));
    const promoted = await promoting;
    const next = promoted.filter(row => row.lease_token !== null) as LeasedRow[];
    if (promoted.length > next.length || !areLeaving) tx.afterCommit(claimable);
    return { held: settlements.map(({ delivery }) => held.has(delivery)), next };
  }

  /** Ends the leases that are still held, and answers their deliveries. */
  async function endHeld(tx: Tx, settlements: Settlement[]): Promise<Set<LeasedDelivery>> {
    const now = clock.now();
    const held = new Set<LeasedDelivery>();
    // A delivery comes twice if its lease was lost and this process claimed it again.
    for (let rest = settlements; rest.length > 0; ) {
      const some = new Map(rest.map(one => [one.delivery.lease.position, one]));
      rest = rest.filter(one => some.get(one.delivery.lease.position) !== one);
      const endings = [...some.values()].map(({ delivery, outcome }) => ({
        lease: delivery.lease,
        row: endedBy(delivery, outcome, now, workerName),
      }));
      for (const position of await endLeases(tx, endings)) held.add((some.get(position) as Settlement).delivery);
    }
    return held;
  }

  /** Stores a handler's result on its delivery. */
  function storeResult(tx: Tx, { lease }: LeasedDelivery, { result }: { result?: string }): void {
    if (result !== undefined) updateResult(tx, lease.position, result);
  }

  /** The subscriptions to claim from. Of many, others come first at each claim, so that none waits for the rest. */
  function inTurn(own: number[]): number[] {
    if (own.length <= SUBSCRIPTIONS_PER_CLAIM) return own;
    turn = (turn + SUBSCRIPTIONS_PER_CLAIM) % own.length;
    return [...own.slice(turn), ...own.slice(0, turn)];
  }

  /**
   * Claims in `tx`: what is due, and then what the log has. Answers the contents of what it claims with it. Statements
   * that do not need each other's results run together, so that they share round trips to a server.
   */
  async function claimIn(tx: Tx, claim: Claim, room: Room): Promise<{ rows: LeasedRow[]; contentOf: ContentOf }> {
    const paused = pausedTopics(tx).then(topics => new Set(topics));
    const [due, ahead, topics] = await Promise.all([claimDueIn(tx, claim, room, paused), fanOut.lookAhead(tx), paused]);
    const most = { free: claim.limit - due.length, most: claim.limit };
    const placed = await fanOut.place(tx, ahead, most, room, topics);
    if (placed.more) tx.afterCommit(claimable);
    // Payloads are read in the claim's transaction: a read that failed later would leave leases without a worker.
    const [leased, contentOf] = await Promise.all([
      fanOut.insert(tx, placed, claim),
      readContents(events, tx, [...due, ...placed.rows.filter(row => row.leased === 1)]),
    ]);
    return { rows: [...due, ...leased].sort((a, b) => a.position - b.position), contentOf };
  }

  /**
   * Claims what is due. Messages of paused topics are parked instead, until their topic is resumed. A message whose lease
   * expired is released if an older message of its lane was replayed meanwhile.
   */
  async function claimDueIn(
    tx: Tx,
    claim: Claim,
    room: Room,
    paused: Promise<ReadonlySet<string>>,
  ): Promise<LeasedRow[]> {
    const roomOf: RoomOf = id => room.left(id);
    const ids = subscriptions.own.map(({ subscription_id }) => subscription_id);
    const own = inTurn(ids.filter(id => roomOf(id) > 0));
    const claimed: LeasedRow[] = [];
    for (let round = 0; round < CLAIM_ROUNDS && claimed.length < claim.limit; round += 1) {
      const rows = await claimDue(tx, own, { ...claim, limit: claim.limit - claimed.length }, roomOf);
      if (rows.length === 0) break;
      const late = await overtaking(
        tx,
        rows.filter(isLate).map(row => row.position),
      );
      const overtakers = rows.filter(row => late.has(row.position));
      await release(tx, overtakers);
      const first = rows.filter(row => !late.has(row.position));
      const topics = await paused;
      for (const row of first.filter(row => !topics.has(row.topic))) {
        claimed.push(row);
        room.take(row.subscription_id);
      }
      const toPark = first.filter(row => topics.has(row.topic));
      await unclaim(tx, toPark, { parked: 1 });
      // Other due messages may follow the parked and released ones.
      if (toPark.length + overtakers.length === 0) break;
      if (round === CLAIM_ROUNDS - 1) tx.afterCommit(claimable);
    }
    return claimed;
  }

  /** Undoes claims: no attempt is used. */
  async function unclaim(tx: Tx, rows: LeasedRow[], place: { parked: 0 | 1; claimable_in?: number }): Promise<void> {
    const endings = rows.map(({ position, lease_token, queued, last_error, history, updated_at, attempts }) => ({
      lease: { position, lease_token },
      row: {
        ...{ queued, last_error, history, updated_at, ...place },
        status: last_error === null ? ('pending' as const) : ('failed' as const),
        attempts: attempts - 1,
      },
    }));
    await endLeases(tx, endings);
  }

  /** Undoes claims of messages that are due again at once. */
  async function release(tx: Tx, rows: LeasedRow[]): Promise<void> {
    await unclaim(tx, rows, { parked: 0, claimable_in: 0 });
    putOldestFirst(
      tx,
      rows.filter(row => row.queued === 1).map(row => row.position),
    );
  }

  /** Releases the leases of claims whose commit may or may not have succeeded: no worker holds them. */
  async function releaseUncertain(tx: Tx, tokens: string[]): Promise<void> {
    if (tokens.length > 0) await release(tx, await leasesOf(tx, workerName, tokens));
  }

  /** Claimed deliveries as the worker gets them. */
  function leased(rows: LeasedRow[], contentOf: ContentOf, claimedAt: number): LeasedDelivery[] {
    const names = new Map(subscriptions.own.map(({ subscription_id, name }) => [subscription_id, name]));
    return rows.map(row => {
      const content = contentOf(row);
      const consumer = names.get(row.subscription_id) as string;
      return {
        lease: { position: row.position, lease_token: row.lease_token },
        row,
        message: toMessage(row, content, consumer, maxAttempts),
        erased: content.erased,
        consumer,
        traceparent: content.traceparent,
        tokenId: content.tokenId,
        claimedAt,
        reclaimed: isReclaimed(row.lease_token),
        history: JSON.parse(row.history),
      };
    });
  }

  /**
   * Waits for the writes that are queued now, of runs and of deliveries. After a long effect, all of them come before
   * the next one.
   */
  async function othersHadTheirTurn(): Promise<void> {
    const queues = [{ touches: [] }, DELIVERIES];
    await Promise.allSettled(queues.map(queue => db.write(async () => {}, queue)));
  }

  return {
    /**
     * Claims up to `limit` due deliveries for this process. On SQLite a power failure may undo it: the deliveries are
     * claimed again then, as those of a process that died.
     * @param roomOf how many of one subscription it claims at most
     */
    async claim(limit: number, roomOf: RoomOf = () => limit): Promise<LeasedDelivery[]> {
      const token = newUid();
      const before = [...uncertain];
      const claiming = db.write(
        async tx => {
          // Not before: what the claim waits for is no part of the attempts.
          const now = clock.now();
          await releaseUncertain(tx, before);
          const claim = { limit, lease_token: token, leased_by: workerName, leaseMs, now };
          return { now, ...(await claimIn(tx, claim, new Room(roomOf))) };
        },
        // A server may lose the claim in a crash that this process survives: another would run beside its handler.
        { ...DELIVERIES, flush: db.shared },
      );
      const { now, rows, contentOf } = await claiming.catch(error => {
        uncertain.add(token);
        throw error;
      });
      for (const known of before) uncertain.delete(known);
      return leased(rows, contentOf, now);
    },

    /** Renews these leases, and answers the ones that are still held. */
    renew: (leases: Lease[]): Promise<Lease[]> => db.write(tx => renewLeases(tx, leases, leaseMs), DELIVERIES),

    /**
     * Answers for each delivery whether its lease was held; if not, its row is unchanged. A power failure may undo it.
     * Then the lease expires and the delivery is attempted again, as after a crash between a handler and its outcome.
     * @param take is called when the transaction has begun, each time that it does
     * @param claims also claims what follows them in their lanes and is due, so that it need not become claimable first
     */
    async settle(take: () => Settlement[], { claims = false } = {}): Promise<Settled> {
      if (!claims) {
        const { held } = await db.write(tx => settleIn(tx, take()), { ...DELIVERIES, flush: false });
        return { held, next: [] };
      }
      const token = newUid();
      const settling = db.write(
        async tx => {
          const now = clock.now();
          const claim = { lease_token: token, leased_by: workerName, leaseMs, now };
          const { held, next } = await settleIn(tx, take(), claim);
          return { held, now, next, contentOf: await readContents(events, tx, next) };
        },
        { ...DELIVERIES, flush: db.shared },
      );
      const { held, now, next, contentOf } = await settling.catch(error => {
        uncertain.add(token);
        throw error;
      });
      return { held, next: leased(next, contentOf, now) };
    },

    /**
     * Runs `effect` in the transaction that marks the delivery sent: both commit, or neither.
     * Answers false, without calling `effect`, if the lease has been lost.
     * @param traceparent W3C Trace Context of the effect; by default the one of the message
     * @throws whatever `effect` throws; the transaction is rolled back and the lease is still held
     */
    async settleWith(
      delivery: LeasedDelivery,
      effect: (tx: Tx) => Promise<Outcome & { kind: 'sent' }>,
      traceparent = delivery.traceparent,
    ): Promise<boolean> {
      const work = async (tx: Tx) => {
        const { held } = await settleIn(tx, [{ delivery, outcome: { kind: 'sent' } }]);
        if (!held[0]) return false;
        storeResult(tx, delivery, await effect(tx));
        return true;
      };
      const began = performance.now();
      try {
        // Alone: another write's failure must not roll back a handler's effect, nor the reverse.
        return await db.write(work, { alone: true, traceparent, tokenId: delivery.tokenId });
      } finally {
        if (performance.now() - began > LONG_EFFECT_MS) await othersHadTheirTurn();
      }
    },

    /** Resumes a paused topic and unparks a first batch of its deliveries; the maintenance job unparks the rest. */
    async resume(tx: Tx, topic: string): Promise<void> {
      if (!(await pausedTopics(tx)).includes(topic)) return;
      await setPaused(tx, topic, 0);
      await unpark(tx, topic, UNPARK_BATCH);
      tx.afterCommit(claimable);
    },
  };
}

/** It has a lane, and its lease ran out before this claim. */
function isLate({ queued, lease_token }: LeasedRow): boolean {
  return queued === 1 && isReclaimed(lease_token);
}

/** The room of subscriptions during one claim. */
export class Room {
  readonly #of: RoomOf;
  readonly #left = new Map<number, number>();

  constructor(of: RoomOf) {
    this.#of = of;
  }

  left(subscription_id: number): number {
    return this.#left.get(subscription_id) ?? this.#of(subscription_id);
  }

  take(subscription_id: number): void {
    this.#left.set(subscription_id, this.left(subscription_id) - 1);
  }
}
