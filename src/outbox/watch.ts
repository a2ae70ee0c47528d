import { type Clock, toTimestampOrNull } from '../clock.ts';
import type { Database } from '../db/database.ts';
import { parking } from './delivery.ts';
import { countParked, overdueLeases, parkedFor } from './lane-repository.ts';
import { countMessages, listBlocking, oldestPending, pausedTopics } from './repository.ts';
import { type MessageStatus, messageStatuses, type OutboxStats } from './schemas.ts';

/** Blocked lanes that are listed one by one. */
const LANES_LISTED = 100;

interface Dependencies {
  db: Pick<Database, 'read'>;
  clock: Clock;
}

export type Watch = ReturnType<typeof createWatch>;

/** How the messages are, for those who only watch. */
export function createWatch({ db, clock }: Dependencies) {
  return {
    async stats(): Promise<OutboxStats> {
      const none = () =>
        Object.fromEntries(messageStatuses.map(status => [status, 0])) as Record<MessageStatus, number>;
      const by_status = none();
      const by_topic: Record<string, Record<MessageStatus, number>> = {};
      for (const { topic, status, count } of await countMessages(db.read)) {
        by_status[status] += count;
        by_topic[topic] ??= none();
        by_topic[topic][status] += count;
      }
      const oldest = await oldestPending(db.read);
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

    /** How many messages are under leases that ended more than `graceMs` ago: workers look for them all the time. */
    overdueLeases: (graceMs: number): Promise<number> => overdueLeases(db.read, graceMs),
  };
}
