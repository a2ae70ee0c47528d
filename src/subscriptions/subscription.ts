import type { Row } from '../db/schema.ts';
import { eventTopic } from '../events/envelope.ts';
import { eventTypes } from '../events/event-types.ts';
import { memoize } from '../memoize.ts';
import { topicMatches } from './patterns.ts';

/** Topics whose match is cached per subscription. */
const TOPICS_REMEMBERED = 1000;

/** How the names of the subscriptions of webhooks begin. */
export const WEBHOOK_PREFIX = 'webhook:';

/** What a process says of a consumer that it serves. */
export interface Consumer {
  name: string;
  /** Exact topics or patterns: `*` matches one segment, a trailing `**` one or more. */
  topics: string[];
  policy: { dead: 'pass' | 'block' };
  /** `beginning`: a new subscription starts at the start of the log instead of its head. */
  from?: 'beginning';
}

/** What an event must have besides its topic. */
export interface EventScope {
  run_id?: string;
  agent_name?: string;
}

/** A stored subscription. */
export interface Subscription {
  subscription_id: number;
  name: string;
  kind: 'handler' | 'webhook';
  topics: readonly string[];
  /** Null for all events of its topics. */
  filter: EventScope | null;
  dead_policy: 'pass' | 'block';
  /** The sequence up to which the log has been looked through for it. */
  position: number;
  last_seen_at: number;
  /** Whether it wants the messages of a topic. */
  matches(topic: string): boolean;
  /** The types of the events that it wants; empty if it wants published messages only. */
  eventTypes: ReadonlySet<string>;
}

/** A subscription, and what waits for it. */
export interface SubscriptionState {
  subscription: Subscription;
  /** The processes that handle its messages. */
  served_by: string[];
  /** Messages that are not handled yet, and not dead. */
  waiting: number;
  dead: number;
  /** Publication time of the oldest one that is due. Epoch milliseconds; null if there is none. */
  oldest: number | null;
}

/** Makes a function from rows to subscriptions. It remembers what their patterns match. */
export function subscriptionReader() {
  const matchers = new Map<string, Pick<Subscription, 'topics' | 'filter' | 'matches' | 'eventTypes'>>();

  return (row: Omit<Row<'subscriptions'>, 'created_at' | 'deleted_at'>): Subscription => {
    const key = `${row.topics} ${row.filter}`;
    let matcher = matchers.get(key);
    if (!matcher) {
      const topics = JSON.parse(row.topics) as string[];
      matcher = { topics, filter: row.filter === null ? null : JSON.parse(row.filter), ...matching(topics) };
      matchers.set(key, matcher);
    }
    const { subscription_id, name, kind, dead_policy, position, last_seen_at } = row;
    return { subscription_id, name, kind, dead_policy, position, last_seen_at, ...matcher };
  };
}

/** Whether a subscription wants an event of one of its topics. */
export function isInScope(
  { filter }: Pick<Subscription, 'filter'>,
  event: { run_id: string | null; agent_name: string | null },
): boolean {
  if (filter === null) return true;
  const { run_id = event.run_id, agent_name = event.agent_name } = filter;
  return run_id === event.run_id && agent_name === event.agent_name;
}

/** What these patterns match. */
export function matching(topics: readonly string[]): Pick<Subscription, 'matches' | 'eventTypes'> {
  const matches = memoize((topic: string) => topics.some(pattern => topicMatches(pattern, topic)), TOPICS_REMEMBERED);
  return { matches, eventTypes: new Set(eventTypes.filter(type => matches(eventTopic(type)))) };
}
