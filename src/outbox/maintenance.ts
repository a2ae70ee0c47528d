import type { Clock } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import type { Database } from '../db/database.ts';
import { parking } from './lane.ts';
import { endLeasesOf, leaseHolders, listLanes, parkedFor, putOldestFirst, unpark } from './lease-repository.ts';
import type { MessageRow } from './leased-delivery.ts';
import { deleteDone, pausedTopics } from './repository.ts';
import type { Attempt } from './schemas.ts';

interface Dependencies {
  db: Database;
  clock: Clock;
  /** How long sent and discarded messages are kept; 0 keeps them. */
  retentionMs: number;
  commits: CommitNotifier;
}

/** Messages that one transaction takes out of parking. */
export const UNPARK_BATCH = 500;
/** Lanes that are looked at in one go. */
const LANES_BATCH = 500;
/** Messages that one transaction of the retention looks at, and transactions per sweep: a few milliseconds each. */
const RETENTION_BATCH = 200;
const RETENTION_BATCHES = 20;

/** Jobs that keep the outbox in order: they reclaim leases of dead processes, unpark messages and delete old ones. */
export function createOutboxMaintenance({ db, clock, retentionMs, commits }: Dependencies) {
  /** Where the retention goes on; a restart begins at the beginning. */
  let retainedUpTo = 0;
  /** Where the look at the lanes goes on. */
  let lanesUpTo = '';

  async function unparkAll(parked: string): Promise<void> {
    let freed: number;
    do {
      freed = await db.write(tx => unpark(tx, parked, UNPARK_BATCH));
      if (freed > 0) commits.notify('claimable');
    } while (freed === UNPARK_BATCH);
  }

  return {
    /**
     * Takes back what dead processes had claimed, without waiting for their leases, and answers how much it was, and
     * whether some of it has been claimed before without a result.
     */
    async reclaim(): Promise<{ count: number; again: boolean }> {
      const dead = await db.presence.deadAmong(await leaseHolders(db.read));
      if (dead.length === 0) return { count: 0, again: false };
      const taken = await db.write(async tx => {
        const ended = await endLeasesOf(tx, dead);
        putOldestFirst(
          tx,
          ended.map(({ lane }) => lane).filter(lane => lane !== null),
        );
        return ended;
      });
      commits.notify('claimable');
      return { count: taken.length, again: taken.some(wasLostBefore) };
    },

    /**
     * Lets messages be claimed again that have what they waited for: a handler that is there now, or a topic that was
     * resumed by a process that died before it had freed them all.
     */
    async unparkReady(isHandled: (topic: string, consumer: string | null) => boolean): Promise<void> {
      const waiting = await parkedFor(db.read);
      if (waiting.length === 0) return;
      const paused = new Set(await pausedTopics(db.read));
      for (const parked of waiting) {
        const { waitsFor, topic, consumer } = parking.parse(parked);
        if (waitsFor === 'handler' ? isHandled(topic, consumer) : !paused.has(topic)) await unparkAll(parked);
      }
    },

    /**
     * Looks at the next lanes and gives those a head whose messages nothing would ever let go. Answers how many there were.
     * Nothing of ours leaves one, but other programs write to databases, too.
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

    /** Deletes sent and discarded messages that are old enough, a few at a time, so that no write waits for long. */
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

/** Whether an attempt before the one that was just taken back has ended without a result, too, since it was replayed. */
function wasLostBefore({
  attempts,
  generation,
  history,
}: Pick<MessageRow, 'attempts' | 'generation' | 'history'>): boolean {
  const results = (JSON.parse(history) as Attempt[]).filter(attempt => attempt.generation === generation);
  return attempts > results.length + 1;
}
