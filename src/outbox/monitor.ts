import { type Clock, toTimestampOrNull } from '../clock.ts';
import type { Database } from '../db/database.ts';
import { EVENT_TOPICS } from '../events/envelope.ts';
import type { EventLog } from '../events/service.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import type { SubscriptionState } from '../subscriptions/subscription.ts';
import { createBacklogCount } from './backlog.ts';
import { type Lane, pausedTopics } from './delivery-repository.ts';
import { listLanes, topicsWithoutConsumer } from './lane-repository.ts';
import { overdueLeases } from './lease-repository.ts';
import type { DeliveryCount } from './leased-delivery.ts';
import { FIRST_LANE } from './maintenance.ts';
import { readContents } from './message.ts';
import { countBlocked, listBlocking, sentMessages } from './repository.ts';
import { type MessageStatus, messageStatuses, type OutboxStats } from './schemas.ts';

/** The statuses of unfinished deliveries. */
export const BACKLOG = ['pending', 'processing', 'failed', 'dead'] as const;
/** Lanes read per query. */
const LANES_BATCH = 500;
/** Blocked lanes listed at most. */
const LANES_LISTED = 100;

interface Dependencies {
  db: Pick<Database, 'read'>;
  clock: Clock;
  events: Pick<EventLog, 'carried' | 'outlines' | 'latest'>;
  subscriptions: Pick<SubscriptionService, 'all' | 'served' | 'names'>;
}

export type OutboxMonitor = ReturnType<typeof createOutboxMonitor>;

/** Read-only views of the outbox for health, metrics, stats and the doctor. */
export function createOutboxMonitor({ db, clock, events, subscriptions }: Dependencies) {
  const count = createBacklogCount({ reader: () => db.read, clock, events, subscriptions });

  /** Counts unfinished deliveries by subscription, topic and status. */
  const backlog = async (): Promise<DeliveryCount[]> => (await count()).filter(({ status }) => status !== 'discarded');

  return {
    backlog,

    /** All subscriptions with what waits for them, by name. @param known a backlog that has been counted already */
    async subscriptions(known?: DeliveryCount[]): Promise<SubscriptionState[]> {
      const served = await subscriptions.served(db.read);
      const counts = known ?? (await backlog());
      const byId = Map.groupBy(counts, ({ subscription_id }) => subscription_id);
      return served.map(({ subscription, served_by }) => {
        const own = byId.get(subscription.subscription_id) ?? [];
        const sum = (dead: boolean) =>
          own.reduce((sum, { status, count }) => ((status === 'dead') === dead ? sum + count : sum), 0);
        return { subscription, served_by, waiting: sum(false), dead: sum(true), oldest: oldestWaiting(own) };
      });
    },

    /** Counts the lanes that dead deliveries block. */
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
      const contentOf = await readContents(events, db.read, blocking);
      const names = await subscriptions.names(db.read);
      return {
        by_status,
        by_topic: Object.entries(by_topic)
          .map(([topic, counts]) => ({ topic, ...counts }))
          .sort((a, b) => (a.topic < b.topic ? -1 : 1)),
        oldest_pending_at: toTimestampOrNull(oldest),
        oldest_pending_age_seconds: oldest === null ? null : Math.max(0, (clock.now() - oldest) / 1000),
        blocked_lanes: blocking.map(row => ({
          message_key: row.message_key as string,
          topic: row.topic,
          consumer: names.get(row.subscription_id as number) ?? null,
          message_id: contentOf(row).message_id,
        })),
      };
    },

    pausedTopics: (): Promise<string[]> => pausedTopics(db.read),

    /** Topics with published messages that no subscription matches. */
    topicsWithoutHandler: (): Promise<string[]> => topicsWithoutConsumer(db.read),

    /** Counts the messages that no subscription matches, by topic. */
    async waitingForHandlers(): Promise<{ topic: string; count: number }[]> {
      const byTopic = new Map<string, number>();
      for (const { subscription_id, topic, status, count } of await backlog()) {
        if (subscription_id !== null || status === 'dead' || topic.startsWith(EVENT_TOPICS)) continue;
        byTopic.set(topic, (byTopic.get(topic) ?? 0) + count);
      }
      return [...byTopic].map(([topic, count]) => ({ topic, count })).sort((a, b) => (a.topic < b.topic ? -1 : 1));
    },

    /** The message keys of headless lanes: messages wait there and none is claimable, parked, processing or blocking. */
    async headlessLanes(): Promise<string[]> {
      const keys: string[] = [];
      for (let after: Lane = FIRST_LANE; ; ) {
        const lanes = await listLanes(db.read, after, LANES_BATCH);
        keys.push(...lanes.filter(({ headless }) => headless === 1).map(({ message_key }) => message_key));
        const last = lanes.at(-1);
        if (lanes.length < LANES_BATCH || !last) return keys;
        after = last;
      }
    },

    /** Counts leases that expired more than `graceMs` ago. A running worker leaves none: it polls for them. */
    overdueLeases: (graceMs: number): Promise<number> => overdueLeases(db.read, graceMs),
  };
}

/** Publication time of the oldest delivery that is pending and due. Epoch milliseconds; null if there is none. */
export function oldestPending(counts: readonly DeliveryCount[]): number | null {
  return oldestOf(counts.filter(({ status }) => status === 'pending'));
}

/** Publication time of the oldest delivery that is due and neither done nor dead. Epoch milliseconds. */
function oldestWaiting(counts: readonly DeliveryCount[]): number | null {
  return oldestOf(counts.filter(({ status }) => status !== 'dead'));
}

function oldestOf(counts: readonly DeliveryCount[]): number | null {
  const times = counts.map(({ oldest }) => oldest).filter(time => time !== null);
  return times.length > 0 ? Math.min(...times) : null;
}
