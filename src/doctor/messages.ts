import type { Config } from '../config.ts';
import type { OutboxMonitor } from '../outbox/monitor.ts';
import type { SubscriptionState } from '../subscriptions/subscription.ts';
import { type Finding, inTime, ok, problem, warning } from './finding.ts';

/** Topics, subscriptions or lanes listed in one finding at most. */
const MAX_NAMED = 10;
/** As in health: the oldest due message may wait this long. Seconds. */
const BACKLOG_SECONDS = 60;

/** Checks the outbox: overdue leases, dead, blocked, unhandled, unserved and paused messages, and the backlog. */
export async function checkMessages(monitor: OutboxMonitor, config: Config): Promise<Finding[]> {
  const stats = await monitor.stats();
  const unserved = (await monitor.subscriptions()).filter(isUnserved);
  const dead = stats.by_topic.filter(topic => topic.dead > 0).map(({ topic, dead }) => ({ topic, count: dead }));
  return [
    leases(await monitor.overdueLeases(2 * config.LEASE_MS), config),
    listFinding('dead', counted(dead), {
      none: 'No message is dead.',
      some: 'Dead messages',
      level: warning,
      advice: 'GET /outbox?status=dead shows the errors. Fix the cause, then POST /outbox/replay {"status": "dead"}.',
    }),
    listFinding('lanes', stats.blocked_lanes.map(lane), {
      none: 'No message key is blocked.',
      some: 'Message keys blocked by a dead message',
      level: problem,
      advice: 'Replay or discard that message: until then no later message of its key is handled.',
    }),
    listFinding('heads', await monitor.headlessLanes(), {
      none: 'Every message key with waiting messages has a next one.',
      some: 'Message keys whose waiting messages have no next one',
      level: problem,
      advice: 'A running worker repairs them within minutes: start the service, or a process with ROLE=worker.',
    }),
    listFinding('unhandled', counted(await monitor.waitingForHandlers()), {
      none: 'No message lacks a handler.',
      some: 'Messages without a handler',
      level: warning,
      advice: 'Add a handler to HANDLERS_DIR and restart, or discard them.',
    }),
    listFinding(
      'unserved',
      unserved.map(({ subscription, waiting }) => `${waiting} of ${subscription.name}`),
      {
        none: 'Every subscription with waiting messages has a process that serves it.',
        some: 'Waiting messages of subscriptions that no process serves',
        level: warning,
        advice: 'Start a process that has their handlers, or drop them: DELETE /bus/subscriptions/{name}.',
      },
    ),
    listFinding('paused', await monitor.pausedTopics(), {
      none: 'No topic is paused.',
      some: 'Paused topics',
      level: warning,
      advice: 'To handle their messages again, POST /bus/topics/{topic}/resume.',
    }),
    pending(stats.oldest_pending_at, stats.oldest_pending_age_seconds),
  ];
}

function isUnserved({ served_by, waiting }: SubscriptionState): boolean {
  return served_by.length === 0 && waiting > 0;
}

function leases(count: number, { LEASE_MS }: Config): Finding {
  if (count === 0) return ok('leases', 'No lease is overdue.');
  const finding = `Messages whose lease expired more than ${inTime(2 * LEASE_MS)} ago: ${count}.`;
  return problem('leases', finding, 'No worker reclaims them: start the service, or a process with ROLE=worker.');
}

function pending(since: string | null, seconds: number | null): Finding {
  if (since === null || seconds === null) return ok('pending', 'No due message is pending.');
  const finding = `The oldest due message was published ${inTime(seconds * 1000)} ago (${since}).`;
  if (seconds <= BACKLOG_SECONDS) return ok('pending', finding);
  const advice =
    'GET /bus/subscriptions shows whose it is. Look for a paused topic, an earlier message of its key, or a slow worker.';
  return warning('pending', finding, advice);
}

interface Texts {
  /** The sentence for an empty list. */
  none: string;
  /** Introduces the list. */
  some: string;
  level: typeof warning;
  advice: string;
}

/** A finding about a list of names: `ok` if it is empty. */
function listFinding(check: string, names: string[], { none, some, level, advice }: Texts): Finding {
  if (names.length === 0) return ok(check, none);
  const more = names.length > MAX_NAMED ? `, and ${names.length - MAX_NAMED} more` : '';
  return level(check, `${some}: ${names.slice(0, MAX_NAMED).join(', ')}${more}.`, advice);
}

function counted(topics: { topic: string; count: number }[]): string[] {
  return topics.map(({ topic, count }) => `${count} of ${topic}`);
}

function lane({ message_key, message_id, topic }: { message_key: string; message_id: string; topic: string }): string {
  return `${message_key} (${message_id} of ${topic})`;
}
