import { type Clock, toTimestampOrNull } from '../clock.ts';
import type { Database } from '../db/database.ts';
import { createBacklogCount } from './backlog.ts';
import { keyOf, parking } from './lane.ts';
import { countParked, listLanes, overdueLeases, parkedFor } from './lease-repository.ts';
import type { MessageCount } from './leased-delivery.ts';
import { countBlocked, listBlocking, pausedTopics, sentMessages } from './repository.ts';
import { type MessageStatus, messageStatuses, type OutboxStats } from './schemas.ts';

/** The statuses of unfinished messages. */
export const BACKLOG = ['pending', 'processing', 'failed', 'dead'] as const;
/** Lanes read per query. */
const LANES_BATCH = 500;
/** Blocked lanes listed at most. */
const LANES_LISTED = 100;

interface Dependencies {
  db: Pick<Database, 'read'>;
  clock: Clock;
}

export type OutboxMonitor = ReturnType<typeof createOutboxMonitor>;

/** Read-only views of the outbox for health, metrics, stats and the doctor. */
export function createOutboxMonitor({ db, clock }: Dependencies) {
  const count = createBacklogCount({ reader: () => db.read, clock });

  return {
    /** Counts unfinished messages by topic and status. */
    backlog: async (): Promise<MessageCount[]> => (await count()).filter(({ status }) => status !== 'discarded'),

    /** Counts the lanes that dead messages block. */
    blockedLanes: (): Promise<number> => countBlocked(db.read),

    async stats(): Promise<OutboxStats> {
      const none = () =>
        Object.fromEntries(messageStatuses.map(status => [status, 0])) as Record<MessageStatus, number>;
      const by_status = none();
      const by_topic: Record<string, Record<MessageStatus, number>> = {};
      const unsent = await count();
      const sent = (await sentMessages(db.read)).map(row => ({ ...row, status: 'sent' as const }));
      for (const { topic, status, count } of [...unsent, ...sent]) {
        by_status[status] += count;
        by_topic[topic] ??= none();
        by_topic[topic][status] += count;
      }
      const oldest = oldestPending(unsent);
      const blocking = await listBlocking(db.read, LANES_LISTED);
      return {
        by_status,
        by_topic: Object.entries(by_topic)
          .map(([topic, counts]) => ({ topic, ...counts }))
          .sort((a, b) => (a.topic < b.topic ? -1 : 1)),
        oldest_pending_at: toTimestampOrNull(oldest),
        oldest_pending_age_seconds: oldest === null ? null : Math.max(0, (clock.now() - oldest) / 1000),
        blocked_lanes: blocking.map(({ message_key, topic, consumer, message_id }) => ({
          message_key: message_key as string,
          topic,
          consumer,
          message_id,
        })),
      };
    },

    pausedTopics: (): Promise<string[]> => pausedTopics(db.read),

    /** Topics with messages that are parked for want of a handler. */
    async topicsWithoutHandler(): Promise<string[]> {
      const reasons = (await parkedFor(db.read)).map(parking.parse);
      return [...new Set(reasons.filter(({ waitsFor }) => waitsFor === 'handler').map(({ topic }) => topic))];
    },

    /** Counts messages without a handler by topic. Messages behind them in their lanes do not count. */
    async waitingForHandlers(): Promise<{ topic: string; count: number }[]> {
      const byTopic = new Map<string, number>();
      for (const { parked, count } of await countParked(db.read)) {
        const { waitsFor, topic } = parking.parse(parked);
        if (waitsFor === 'handler') byTopic.set(topic, (byTopic.get(topic) ?? 0) + count);
      }
      return [...byTopic].map(([topic, count]) => ({ topic, count }));
    },

    /** The message keys of headless lanes: messages wait there and none is claimable, parked, processing or blocking. */
    async headlessLanes(): Promise<string[]> {
      const keys: string[] = [];
      for (let after = ''; ; ) {
        const lanes = await listLanes(db.read, after, LANES_BATCH);
        keys.push(...lanes.filter(({ headless }) => headless).map(({ lane }) => keyOf(lane)));
        if (lanes.length < LANES_BATCH) return keys;
        after = lanes.at(-1)?.lane as string;
      }
    },

    /** Counts leases that expired more than `graceMs` ago. A running worker leaves none: it polls for them. */
    overdueLeases: (graceMs: number): Promise<number> => overdueLeases(db.read, graceMs),
  };
}

/** Publication time of the oldest message that is pending and due. Epoch milliseconds; null if there is none. */
export function oldestPending(counts: readonly MessageCount[]): number | null {
  const times = counts.flatMap(({ status, oldest }) => (status === 'pending' && oldest !== null ? oldest : []));
  return times.length > 0 ? Math.min(...times) : null;
}
