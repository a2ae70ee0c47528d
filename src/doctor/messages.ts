import type { Config } from '../config.ts';
import type { OutboxMonitor } from '../outbox/monitor.ts';
import { type Finding, inTime, ok, problem, warning } from './finding.ts';

/** Topics or lanes that are named one by one. */
const NAMED = 10;
/** As in the health: what has been pending for longer is worth a look. Seconds. */
const BACKLOG_SECONDS = 60;

/** What has piled up in the outbox. */
export async function checkMessages(monitor: OutboxMonitor, config: Config): Promise<Finding[]> {
  const stats = await monitor.stats();
  const dead = stats.by_topic.filter(topic => topic.dead > 0).map(({ topic, dead }) => ({ topic, count: dead }));
  return [
    leases(await monitor.overdueLeases(2 * config.LEASE_MS), config),
    found('dead', counted(dead), {
      none: 'No message is dead.',
      some: 'Dead messages',
      level: warning,
      advice: 'GET /outbox?status=dead says why. POST /outbox/replay {"topic": …}, or discard them one by one.',
    }),
    found('lanes', stats.blocked_lanes.map(lane), {
      none: 'No key is blocked.',
      some: 'Keys that a dead message blocks',
      level: problem,
      advice: 'Replay or discard that message: nothing of its key is handled before.',
    }),
    found('heads', await monitor.headlessLanes(), {
      none: 'Every key whose messages wait has a next one.',
      some: 'Keys of whose messages none is the next',
      level: problem,
      advice:
        'The housekeeping of a worker mends them within minutes: start the service, or a process with ROLE=worker.',
    }),
    found('unhandled', counted(await monitor.waitingForHandlers()), {
      none: 'Every message that is due has a handler.',
      some: 'Messages without a handler',
      level: warning,
      advice:
        'Add a handler to HANDLERS_DIR and restart, or discard them. What is behind them in their keys waits too.',
    }),
    found('paused', await monitor.pausedTopics(), {
      none: 'No topic is paused.',
      some: 'Paused topics',
      level: warning,
      advice: 'POST /bus/topics/{topic}/resume when they may go on.',
    }),
    pending(stats.oldest_pending_at, stats.oldest_pending_age_seconds),
  ];
}

function leases(count: number, { LEASE_MS }: Config): Finding {
  if (count === 0) return ok('leases', 'No lease has been over for long.');
  const finding = `Messages whose lease ended more than ${inTime(2 * LEASE_MS)} ago: ${count}.`;
  return problem('leases', finding, 'No worker is running: start the service, or a process with ROLE=worker.');
}

function pending(since: string | null, seconds: number | null): Finding {
  if (since === null || seconds === null) return ok('pending', 'No message is pending.');
  const finding = `The oldest pending message was published ${inTime(seconds * 1000)} ago (${since}).`;
  if (seconds <= BACKLOG_SECONDS) return ok('pending', finding);
  const advice = 'GET /outbox?status=pending shows it: it is for later, behind another, or no worker keeps up.';
  return warning('pending', finding, advice);
}

interface Words {
  none: string;
  some: string;
  level: typeof warning;
  advice: string;
}

function found(check: string, names: string[], { none, some, level, advice }: Words): Finding {
  if (names.length === 0) return ok(check, none);
  const more = names.length > NAMED ? `, and ${names.length - NAMED} more` : '';
  return level(check, `${some}: ${names.slice(0, NAMED).join(', ')}${more}.`, advice);
}

function counted(topics: { topic: string; count: number }[]): string[] {
  return topics.map(({ topic, count }) => `${count} of ${topic}`);
}

function lane({ message_key, message_id, topic }: { message_key: string; message_id: string; topic: string }): string {
  return `${message_key} (${message_id} of ${topic})`;
}
