import type { Clock } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import type { Database, Reader } from '../db/database.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import { type Lane, pausedTopics } from './delivery-repository.ts';
import { blockingOf, leaveLanes, listLanes, parkedTopics, putOldestFirst, unpark } from './lane-repository.ts';
import { leaseHolders, reclaimLeasesOf } from './lease-repository.ts';
import type { DeliveryRow } from './leased-delivery.ts';
import { deleteDone, discardSome, hasUnfinished } from './repository.ts';
import type { Attempt } from './schemas.ts';

interface Dependencies {
  db: Database;
  clock: Clock;
  subscriptions: Pick<SubscriptionService, 'abandoned' | 'current' | 'own'>;
  /** How long sent and discarded deliveries are kept. Milliseconds; 0 keeps them for ever. */
  retentionMs: number;
  commits: CommitNotifier;
}

/** What the jobs touch. */
const DELIVERIES = { touches: ['deliveries'] } as const;
/** Deliveries that one transaction unparks at most. */
export const UNPARK_BATCH = 500;
/** Deliveries that one transaction discards at most. */
const DISCARD_BATCH = 200;
/** Dead deliveries that one transaction takes out of their lanes at most. */
const PASS_BATCH = 200;
/** Lanes checked per run. */
const LANES_BATCH = 500;
/** Deliveries that one retention transaction reads at most; it takes a few milliseconds. */
const RETENTION_BATCH = 200;
/** Retention transactions per run of the job. */
const RETENTION_BATCHES = 20;
/** Before the first lane. */
export const FIRST_LANE: Lane = { subscription_id: 0, message_key: '' };

export type OutboxMaintenance = ReturnType<typeof createOutboxMaintenance>;

/** Maintenance jobs of the outbox: reclaim leases of dead processes, unpark, pass, discard and delete. */
export function createOutboxMaintenance({ db, clock, subscriptions, retentionMs, commits }: Dependencies) {
  /** Position after which the next retention batch begins; in memory only, so a restart begins at 0. */
  let retainedUpTo = 0;
  /** The last lane that was checked. */
  let lanesUpTo = FIRST_LANE;

  /** Repeats a batch until it changes fewer rows than it may. */
  async function inBatches(size: number, batch: () => Promise<number>): Promise<void> {
    while ((await batch()) === size);
  }

  return {
    /**
     * Reclaims the leases of dead processes at once, before they expire.
     * @returns `count` of reclaimed deliveries, and `again`: a handler's one had lost an earlier attempt in the same way
     */
    async reclaim(): Promise<{ count: number; again: boolean }> {
      const dead = await db.presence.deadAmong(await leaseHolders(db.read));
      if (dead.length === 0) return { count: 0, again: false };
      const reclaimed = await db.write(async tx => {
        const ended = await reclaimLeasesOf(tx, dead);
        putOldestFirst(
          tx,
          ended.map(row => row.position),
        );
        return ended;
      }, DELIVERIES);
      commits.notify('claimable');
      // Of the others, what runs is code of the service: webhooks cannot kill it.
      const handled = new Set<number | null>(subscriptions.own.map(({ subscription_id }) => subscription_id));
      const again = reclaimed.some(row => handled.has(row.subscription_id) && wasLostBefore(row));
      return { count: reclaimed.length, again };
    },

    /** Unparks deliveries whose topic is no longer paused: a resumed one may have more than {@link UNPARK_BATCH}. */
    async unparkReady(): Promise<void> {
      const topics = await parkedTopics(db.read);
      if (topics.length === 0) return;
      const paused = new Set(await pausedTopics(db.read));
      for (const topic of topics.filter(topic => !paused.has(topic))) {
        await inBatches(UNPARK_BATCH, async () => {
          const unparked = await db.write(tx => unpark(tx, topic, UNPARK_BATCH), DELIVERIES);
          if (unparked > 0) commits.notify('claimable');
          return unparked;
        });
      }
    },

    /** Discards the unfinished deliveries of deleted subscriptions and disabled webhooks. */
    async discardOrphans(): Promise<void> {
      for (const id of await subscriptions.abandoned(db.read)) {
        if (!(await hasUnfinished(db.read, id))) continue;
        await inBatches(DISCARD_BATCH, () =>
          db.write(async tx => {
            // A webhook that is enabled meanwhile wants what is new.
            const isAbandoned = (await subscriptions.abandoned(tx)).includes(id);
            return isAbandoned ? discardSome(tx, id, clock.now(), DISCARD_BATCH) : 0;
          }, DELIVERIES),
        );
      }
    },

    /**
     * Takes dead deliveries out of lanes that they should not block: they died before the policy of their handler became
     * `pass`, or in a process that still has the former one.
     */
    async passDead(): Promise<void> {
      const ids = subscriptions.own.map(({ subscription_id }) => subscription_id);
      const passable = async (reader: Reader) => {
        const passing = (await subscriptions.current(reader, ids)).filter(({ dead_policy }) => dead_policy === 'pass');
        return blockingOf(
          reader,
          passing.map(({ subscription_id }) => subscription_id),
          PASS_BATCH,
        );
      };
      if ((await passable(db.read)).length === 0) return;
      await inBatches(PASS_BATCH, async () => {
        const passed = await db.write(async tx => {
          const positions = await passable(tx);
          leaveLanes(tx, positions);
          return positions.length;
        }, DELIVERIES);
        commits.notify('claimable');
        return passed;
      });
    },

    /**
     * Checks the next lanes and gives headless ones a head. Answers how many were headless. The service leaves none, but
     * other programs may write to its database.
     */
    async mendLanes(): Promise<number> {
      const seen = await listLanes(db.read, lanesUpTo, LANES_BATCH);
      lanesUpTo = seen.length < LANES_BATCH ? FIRST_LANE : (seen.at(-1) ?? FIRST_LANE);
      const headless = seen.filter(lane => lane.headless === 1).map(({ position }) => position);
      if (headless.length === 0) return 0;
      await db.write(async tx => putOldestFirst(tx, headless), DELIVERIES);
      commits.notify('claimable');
      return headless.length;
    },

    /** Deletes sent and discarded deliveries past their retention, in small transactions so no other write waits long. */
    async deleteOld(): Promise<void> {
      if (retentionMs === 0) return;
      const before = clock.now() - retentionMs;
      for (let batch = 0; batch < RETENTION_BATCHES; batch += 1) {
        const next = await db.write(tx => deleteDone(tx, retainedUpTo, before, RETENTION_BATCH), DELIVERIES);
        retainedUpTo = next ?? 0;
        if (next === null) return;
      }
    },
  };
}

/** Whether an earlier attempt of the same generation also ended without an outcome. */
function wasLostBefore({
  attempts,
  generation,
  history,
}: Pick<DeliveryRow, 'attempts' | 'generation' | 'history'>): boolean {
  const recorded = (JSON.parse(history) as Attempt[]).filter(attempt => attempt.generation === generation);
  return attempts > recorded.length + 1;
}
