import { type Clock, toTimestampOrNull } from '../clock.ts';
import type { Database } from '../db/database.ts';
import { createBacklogCount } from './backlog.ts';
import { keyOf, parking } from './lane.ts';
import { countParked, listLanes, overdueLeases, parkedFor } from './lease-repository.ts';
import type { MessageCount } from './leased-delivery.ts';
import { countBlocking, listBlocking, pausedTopics, sentMessages } from './repository.ts';
import { type MessageStatus, messageStatuses, type OutboxStats } from './schemas.ts';

/** The statuses of what is not done with. */
export const BACKLOG = ['pending', 'processing', 'failed', 'dead'] as const;
/** Lanes that are read at once. */
const LANES_BATCH = 500;
/** Blocked lanes that are listed one by one. */
const LANES_LISTED = 100;

interface Dependencies {
  db: Pick<Database, 'read'>;
  clock: Clock;
}

export type OutboxMonitor = ReturnType<typeof createOutboxMonitor>;

/** How the messages are, for those who only watch. */
export function createOutboxMonitor({ db, clock }: Dependencies) {
  const count = createBacklogCount({ reader: () => db.read, clock });

  return {
    /** What is still on its way, or stuck, by topic and status. */
    backlog: async (): Promise<MessageCount[]> => (await count()).filter(({ status }) => status !== 'discarded'),

    /** How many dead messages hold a lane back. */
    blocking: (): Promise<number> => countBlocking(db.read),

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

    /** The topics that have messages nobody handles. */
    async topicsWithoutHandler(): Promise<string[]> {
      const waiting = (await parkedFor(db.read)).map(parking.parse);
      return [...new Set(waiting.filter(({ waitsFor }) => waitsFor === 'handler').map(({ topic }) => topic))];
    },

    /** How many messages wait for a handler that nobody has, by topic. What is behind them in their lanes is not counted. */
    async waitingForHandlers(): Promise<{ topic: string; count: number }[]> {
      const byTopic = new Map<string, number>();
      for (const { parked, count } of await countParked(db.read)) {
        const { waitsFor, topic } = parking.parse(parked);
        if (waitsFor === 'handler') byTopic.set(topic, (byTopic.get(topic) ?? 0) + count);
      }
      return [...byTopic].map(([topic, count]) => ({ topic, count }));
    },

    /** The message keys whose messages nothing lets go: none of them is claimable, waits for something or is dead. */
    async headlessLanes(): Promise<string[]> {
      const keys: string[] = [];
      for (let after = ''; ; ) {
        const lanes = await listLanes(db.read, after, LANES_BATCH);
        keys.push(...lanes.filter(({ headless }) => headless).map(({ lane }) => keyOf(lane)));
        if (lanes.length < LANES_BATCH) return keys;
        after = lanes.at(-1)?.lane as string;
      }
    },

    /** How many messages are under leases that ended more than `graceMs` ago: workers look for them all the time. */
    overdueLeases: (graceMs: number): Promise<number> => overdueLeases(db.read, graceMs),
  };
}

/** When the message that has been due and pending for longest was published. Epoch milliseconds; null if none is. */
export function oldestPending(counts: readonly MessageCount[]): number | null {
  const times = counts.flatMap(({ status, oldest }) => (status === 'pending' && oldest !== null ? oldest : []));
  return times.length > 0 ? Math.min(...times) : null;
}
