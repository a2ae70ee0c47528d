import type { Clock } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import type { Database } from '../db/database.ts';
import { parking } from './lane.ts';
import { leaseHolders, listLanes, parkedFor, putOldestFirst, reclaimLeasesOf, unpark } from './lease-repository.ts';
import type { MessageRow } from './leased-delivery.ts';
import { deleteDone, pausedTopics } from './repository.ts';
import type { Attempt } from './schemas.ts';

interface Dependencies {
  db: Database;
  clock: Clock;
  /** How long sent and discarded messages are kept. Milliseconds; 0 keeps them for ever. */
  retentionMs: number;
  commits: CommitNotifier;
}

/** Messages that one transaction unparks at most. */
export const UNPARK_BATCH = 500;
/** Lanes checked per run. */
const LANES_BATCH = 500;
/** Messages that one retention transaction reads at most; it takes a few milliseconds. */
const RETENTION_BATCH = 200;
/** Retention transactions per run of the job. */
const RETENTION_BATCHES = 20;

/** Maintenance jobs of the outbox: reclaim leases of dead processes, unpark messages, delete old messages. */
export function createOutboxMaintenance({ db, clock, retentionMs, commits }: Dependencies) {
  /** Position after which the next retention batch begins; in memory only, so a restart begins at 0. */
  let retainedUpTo = 0;
  /** The last lane that was checked. */
  let lanesUpTo = '';

  async function unparkAll(parked: string): Promise<void> {
    let unparked: number;
    do {
      unparked = await db.write(tx => unpark(tx, parked, UNPARK_BATCH));
      if (unparked > 0) commits.notify('claimable');
    } while (unparked === UNPARK_BATCH);
  }

  return {
    /**
     * Reclaims the leases of dead processes at once, before they expire.
     * @returns `count` of reclaimed messages, and `again`: one of them had lost an earlier attempt in the same way
     */
    async reclaim(): Promise<{ count: number; again: boolean }> {
      const dead = await db.presence.deadAmong(await leaseHolders(db.read));
      if (dead.length === 0) return { count: 0, again: false };
      const reclaimed = await db.write(async tx => {
        const ended = await reclaimLeasesOf(tx, dead);
        putOldestFirst(
          tx,
          ended.map(({ lane }) => lane).filter(lane => lane !== null),
        );
        return ended;
      });
      commits.notify('claimable');
      return { count: reclaimed.length, again: reclaimed.some(wasLostBefore) };
    },

    /**
     * Unparks messages whose handler exists now or whose topic is no longer paused. The second case remains when a
     * resumed topic has more than {@link UNPARK_BATCH} parked messages.
     */
    async unparkReady(isHandled: (topic: string, consumer: string | null) => boolean): Promise<void> {
      const reasons = await parkedFor(db.read);
      if (reasons.length === 0) return;
      const paused = new Set(await pausedTopics(db.read));
      for (const parked of reasons) {
        const { waitsFor, topic, consumer } = parking.parse(parked);
        if (waitsFor === 'handler' ? isHandled(topic, consumer) : !paused.has(topic)) await unparkAll(parked);
      }
    },

    /**
     * Checks the next lanes and gives headless ones a head. Answers how many were headless. The service leaves none, but
     * other programs may write to its database.
     */
    async mendLanes(): Promise<number> {
      const seen = await listLanes(db.read, lanesUpTo, LANES_BATCH);
      lanesUpTo = seen.length < LANES_BATCH ? '' : (seen.at(-1)?.lane ?? '');
      const headless = seen.filter(lane => lane.headless).map(({ lane }) => lane);
      if (headless.length === 0) return 0;
      await db.write(async tx => putOldestFirst(tx, headless));
      commits.notify('claimable');
      return headless.length;
    },

    /** Deletes sent and discarded messages past their retention, in small transactions so no other write waits long. */
    async deleteOld(): Promise<void> {
      if (retentionMs === 0) return;
      const before = clock.now() - retentionMs;
      for (let batch = 0; batch < RETENTION_BATCHES; batch += 1) {
        const next = await db.write(tx => deleteDone(tx, retainedUpTo, before, RETENTION_BATCH));
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
}: Pick<MessageRow, 'attempts' | 'generation' | 'history'>): boolean {
  const recorded = (JSON.parse(history) as Attempt[]).filter(attempt => attempt.generation === generation);
  return attempts > recorded.length + 1;
}
