import type { Trouble } from '../db/errors.ts';
import { callOf } from '../invocation.ts';
import type { DeliveryCount } from '../outbox/leased-delivery.ts';
import type { SubscriptionState } from '../subscriptions/subscription.ts';
import type { Worker } from '../worker/worker.ts';
import type { HealthReason } from './schemas.ts';

/** The oldest due message may wait this long before health reports a backlog. Seconds. */
const BACKLOG_SECONDS = 60;
/** Names listed in one sentence at most. */
const MAX_NAMED = 10;

/** Result of reading the database for health and metrics. */
export interface DatabaseState {
  /** Why the database cannot be used; the other fields then keep their last known values. */
  trouble: Trouble | undefined;
  /** Names of the migrations that the database lacks. */
  missingMigrations: string[];
  /** Names of its migrations that this process cannot work with. */
  unknownMigrations: string[];
  /** Unfinished deliveries, counted by subscription, topic and status. */
  backlog: DeliveryCount[];
  /** All subscriptions, with what waits for them. */
  subscriptions: SubscriptionState[];
  /** How many dead messages hold back what is behind them in their keys. */
  blockedLanes: number;
  pausedTopics: string[];
  topicsWithoutHandler: string[];
  /** The webhooks that the service itself has disabled. */
  disabledWebhooks: string[];
}

interface FailingTask {
  name: string;
  /** How many runs in a row have failed. */
  failures: number;
  /** Public text of the last error: without hosts, users and files. */
  error: string;
}

interface Observed {
  database: DatabaseState;
  /** Age of the oldest due pending message. Seconds; null if there is none. */
  oldestAge: number | null;
  worker: Worker['health'];
  /** Maintenance jobs whose last run has failed. */
  failingTasks: readonly FailingTask[];
  /** Whether this process should run a worker. */
  dispatches: boolean;
  draining: boolean;
}

const DOWN: ReadonlySet<HealthReason['code']> = new Set([
  'DRAINING',
  'DATABASE_UNREACHABLE',
  'DATABASE_NOT_WRITABLE',
  'MIGRATIONS_MISSING',
  'SCHEMA_NEWER',
]);

/** `down` if the service cannot serve, `degraded` if it serves but needs attention, `ok` without a reason. */
export function statusOf(reasons: readonly HealthReason[]): 'ok' | 'degraded' | 'down' {
  if (reasons.some(({ code }) => DOWN.has(code))) return 'down';
  return reasons.length > 0 ? 'degraded' : 'ok';
}

/** All reasons why the service is not `ok`, with advice for the operator. The ones for `down` come first. */
export function reasonsOf({
  database,
  oldestAge,
  worker,
  failingTasks,
  dispatches,
  draining,
}: Observed): HealthReason[] {
  const reasons: HealthReason[] = [];
  const add = (code: HealthReason['code'], detail: string) => reasons.push({ code, detail });
  if (draining) add('DRAINING', 'The service is shutting down; a second SIGTERM ends it at once.');
  if (database.trouble) add(database.trouble.code, database.trouble.detail);
  if (database.missingMigrations.length > 0) {
    const names = listed(database.missingMigrations);
    add('MIGRATIONS_MISSING', `The database lacks migrations: ${names}. Run ${callOf('migrate')}.`);
  }
  if (database.unknownMigrations.length > 0) {
    const names = listed(database.unknownMigrations);
    add('SCHEMA_NEWER', `A newer version of Forumbus has migrated the database (${names}). Stop this process.`);
  }
  if (dispatches && !draining && !worker.running) {
    add('WORKER_STOPPED', 'The worker of this process is not running. Restart the process.');
  }
  if (worker.consecutive_errors > 0) {
    const times = count(worker.consecutive_errors, 'time');
    const error = `Last error: ${worker.last_error}`;
    add('WORKER_ERRORS', `The worker failed to claim messages ${times} in a row. Check the database. ${error}`);
  }
  for (const { name, failures, error } of failingTasks) {
    const times = count(failures, 'time');
    add('WORKER_ERRORS', `The job ${name} failed ${times} in a row. The log has the details. Last error: ${error}`);
  }
  for (const { code, detail } of outboxReasons(database, oldestAge)) add(code, detail);
  return reasons;
}

function outboxReasons(
  { backlog, subscriptions, blockedLanes, topicsWithoutHandler, disabledWebhooks }: DatabaseState,
  age: number | null,
): HealthReason[] {
  const pending = countOf(backlog, 'pending');
  const dead = countOf(backlog, 'dead');
  const reasons: HealthReason[] = [];
  if (age !== null && age > BACKLOG_SECONDS) {
    const waited = `The oldest of ${count(pending, 'pending message')} has waited ${Math.floor(age)} s.`;
    const advice =
      'Look for slow handlers, paused topics and blocked keys: GET /bus/subscriptions, /bus/topics, /outbox/stats.';
    reasons.push({ code: 'BACKLOG', detail: `${waited} ${advice}` });
  }
  if (dead > 0) {
    const advice = 'GET /outbox?status=dead shows the errors. Fix the cause, then replay or discard them.';
    reasons.push({ code: 'DEAD_MESSAGES', detail: `Dead messages: ${dead}. ${advice}` });
  }
  if (blockedLanes > 0) {
    // Without the keys: they may be confidential, and health needs no token.
    const advice = 'Replay or discard the dead message of each key: GET /outbox/stats lists the keys.';
    reasons.push({
      code: 'LANES_BLOCKED',
      detail: `Message keys blocked by a dead message: ${blockedLanes}. ${advice}`,
    });
  }
  if (topicsWithoutHandler.length > 0) {
    const topics = `Topics with messages but no handler: ${listed(topicsWithoutHandler)}.`;
    const advice = 'Add their handlers to HANDLERS_DIR and restart, or discard the messages.';
    reasons.push({ code: 'NO_HANDLER', detail: `${topics} ${advice}` });
  }
  const unserved = subscriptions.filter(({ served_by, waiting }) => served_by.length === 0 && waiting > 0);
  if (unserved.length > 0) {
    const names = listed(unserved.map(({ subscription }) => subscription.name));
    const advice = 'Start a process that has their handlers, or drop them: DELETE /bus/subscriptions/{name}.';
    reasons.push({
      code: 'NOT_SERVED',
      detail: `Subscriptions with waiting messages that no process serves: ${names}. ${advice}`,
    });
  }
  if (disabledWebhooks.length > 0) {
    const advice = 'Repair their endpoints and enable them: PATCH /webhooks/{name}; then replay what they missed.';
    reasons.push({ code: 'WEBHOOK_DISABLED', detail: `Disabled webhooks: ${listed(disabledWebhooks)}. ${advice}` });
  }
  return reasons;
}

/** Sentences in place of those that name topics or subscriptions, or repeat errors. */
const PUBLIC_DETAILS: Partial<Record<HealthReason['code'], string>> = {
  WORKER_ERRORS: 'The worker or a maintenance job keeps failing. With a token this answer shows the last error.',
  NO_HANDLER: 'Some topics have messages but no handler. With a token this answer names them.',
  WEBHOOK_DISABLED: 'Some webhooks are disabled. With a token this answer names them.',
  NOT_SERVED: 'Some subscriptions with waiting messages have no process. With a token this answer names them.',
};

/** The reasons for callers without a token. */
export function publicReasons(reasons: readonly HealthReason[]): HealthReason[] {
  return reasons.map(({ code, detail }) => ({ code, detail: PUBLIC_DETAILS[code] ?? detail }));
}

/** Counts the messages of all topics with one status. */
export function countOf(backlog: readonly DeliveryCount[], wanted: DeliveryCount['status']): number {
  return backlog.reduce((sum, { status, count }) => sum + (status === wanted ? count : 0), 0);
}

/** `a, b and 3 more`. */
function listed(names: readonly string[]): string {
  const named = names.slice(0, MAX_NAMED).join(', ');
  return names.length > MAX_NAMED ? `${named} and ${names.length - MAX_NAMED} more` : named;
}

function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? '' : 's'}`;
}
