import type { Trouble } from '../db/errors.ts';
import type { MessageCount } from '../outbox/leased-delivery.ts';
import type { Worker } from '../worker/worker.ts';
import type { HealthReason } from './schemas.ts';

/** A backlog is worth a look when its oldest message has waited this long. */
const BACKLOG_SECONDS = 60;
/** Topics that a sentence names. */
const NAMED = 10;

/** What a look at the database has found. */
export interface Look {
  /** Why the database cannot be used; what else is here is as it was when it last could. */
  trouble: Trouble | undefined;
  /** Names of the migrations that the database lacks. */
  missingMigrations: string[];
  /** What is not done with, by topic and status. */
  backlog: MessageCount[];
  /** How many dead messages hold back what is behind them in their keys. */
  blocking: number;
  pausedTopics: string[];
  topicsWithoutHandler: string[];
}

interface FailingTask {
  name: string;
  /** How many runs in a row have failed. */
  failures: number;
  /** Of the last run, without internals. */
  error: string;
}

interface Observed {
  look: Look;
  /** How long the oldest pending message has waited. Seconds. */
  oldestAge: number | null;
  worker: Worker['health'];
  /** Maintenance jobs whose last run failed. */
  failingTasks: readonly FailingTask[];
  /** Whether this process is to have a worker that runs. */
  dispatches: boolean;
  draining: boolean;
}

const DOWN: ReadonlySet<HealthReason['code']> = new Set([
  'DRAINING',
  'DATABASE_UNREACHABLE',
  'DATABASE_NOT_WRITABLE',
  'MIGRATIONS_MISSING',
]);

/** `down` if the service cannot serve, `degraded` if it serves and somebody should look, `ok` without a reason. */
export function statusOf(reasons: readonly HealthReason[]): 'ok' | 'degraded' | 'down' {
  if (reasons.some(({ code }) => DOWN.has(code))) return 'down';
  return reasons.length > 0 ? 'degraded' : 'ok';
}

/** Everything that is not as it should be, what takes the service down first. */
export function reasonsOf({ look, oldestAge, worker, failingTasks, dispatches, draining }: Observed): HealthReason[] {
  const reasons: HealthReason[] = [];
  const add = (code: HealthReason['code'], detail: string) => reasons.push({ code, detail });
  if (draining) add('DRAINING', 'The service is shutting down.');
  if (look.trouble) add(look.trouble.code, look.trouble.detail);
  if (look.missingMigrations.length > 0) {
    add(
      'MIGRATIONS_MISSING',
      `The database lacks ${listed(look.missingMigrations, 'migrations')}; run npm run migrate.`,
    );
  }
  if (dispatches && !draining && !worker.running) add('WORKER_STOPPED', 'The worker of this process does not run.');
  if (worker.consecutive_errors > 0) {
    const times = count(worker.consecutive_errors, 'time');
    add('WORKER_ERRORS', `The worker could not claim messages ${times} in a row: ${worker.last_error}`);
  }
  for (const { name, failures, error } of failingTasks) {
    add('WORKER_ERRORS', `The job ${name} failed ${count(failures, 'time')} in a row: ${error}`);
  }
  for (const { code, detail } of outboxReasons(look, oldestAge)) add(code, detail);
  return reasons;
}

function outboxReasons({ backlog, blocking, topicsWithoutHandler }: Look, age: number | null): HealthReason[] {
  const pending = countOf(backlog, 'pending');
  const dead = countOf(backlog, 'dead');
  const reasons: HealthReason[] = [];
  if (age !== null && age > BACKLOG_SECONDS) {
    const detail = `The oldest of ${count(pending, 'pending message')} has waited ${Math.floor(age)} s.`;
    reasons.push({ code: 'BACKLOG', detail });
  }
  if (dead > 0)
    reasons.push({
      code: 'DEAD_MESSAGES',
      detail: `There ${dead === 1 ? 'is' : 'are'} ${count(dead, 'dead message')}.`,
    });
  if (blocking > 0) {
    // Not by name: message keys belong to those who publish.
    const keys = count(blocking, 'message key');
    reasons.push({ code: 'LANES_BLOCKED', detail: `Dead messages hold back ${keys}; GET /outbox/stats lists them.` });
  }
  if (topicsWithoutHandler.length > 0) {
    const detail = `Messages wait for a handler of ${listed(topicsWithoutHandler, 'topics')}.`;
    reasons.push({ code: 'NO_HANDLER', detail });
  }
  return reasons;
}

/** How many messages have a status. */
export function countOf(backlog: readonly MessageCount[], wanted: MessageCount['status']): number {
  return backlog.reduce((sum, { status, count }) => sum + (status === wanted ? count : 0), 0);
}

/** The first few of them by name. */
function listed(names: readonly string[], kind: string): string {
  const named = names.slice(0, NAMED).join(', ');
  return names.length > NAMED ? `${named} and ${names.length - NAMED} more ${kind}` : named;
}

function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? '' : 's'}`;
}
