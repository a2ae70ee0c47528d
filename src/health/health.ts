import { type Clock, toTimestampOrNull } from '../clock.ts';
import type { Database } from '../db/database.ts';
import { FAILING, publicMessage, type Trouble, troubleOf, UNANSWERED } from '../db/errors.ts';
import type { Drain } from '../http/drain.ts';
import type { Logger } from '../logging.ts';
import { BACKLOG, oldestPending } from '../outbox/monitor.ts';
import type { Outbox } from '../outbox/service.ts';
import type { RepeatingTask } from '../worker/repeating-task.ts';
import type { Worker } from '../worker/worker.ts';
import { CachedCheck } from './cached-check.ts';
import { countOf, type DatabaseState, reasonsOf, statusOf } from './reasons.ts';
import type { Health } from './schemas.ts';

/** A scrape reuses the result of the last write probe for this long. Milliseconds. */
const PROBE_REUSED_MS = 60_000;

interface Dependencies {
  db: Database;
  outbox: Pick<Outbox, 'backlog' | 'subscriptions' | 'blockedLanes' | 'pausedTopics' | 'topicsWithoutHandler'>;
  webhooks: { disabled(): Promise<string[]> };
  worker: Pick<Worker, 'health'>;
  /** The maintenance jobs of this process. */
  tasks: readonly Pick<RepeatingTask, 'health'>[];
  clock: Clock;
  drain: Drain;
  log: Logger;
  /** Whether this process should run a worker (ROLE is `all` or `worker`). */
  dispatches: boolean;
}

/** Reported until the first read has answered. */
const UNKNOWN: DatabaseState = {
  trouble: UNANSWERED,
  missingMigrations: [],
  unknownMigrations: [],
  backlog: [],
  subscriptions: [],
  blockedLanes: 0,
  pausedTopics: [],
  topicsWithoutHandler: [],
  disabledWebhooks: [],
};

/** Health without what its caller's access decides. */
export type Checked = Omit<Health, 'access'>;

export type HealthCheck = ReturnType<typeof createHealth>;

/** Health of the service. It reads and probes the database at most once a second, and callers never wait long. */
export function createHealth({ db, outbox, webhooks, worker, tasks, clock, drain, log, dispatches }: Dependencies) {
  const reads: CachedCheck<DatabaseState> = new CachedCheck(
    () => read().catch(error => ({ ...lastRead(), trouble: toTrouble(error) })),
    clock,
  );
  // Separate from the reads: a database may answer reads and refuse writes.
  const writes = new CachedCheck<Trouble | undefined>(() => db.probe().then(() => undefined, toTrouble), clock);
  const lastRead = (): DatabaseState => reads.value ?? UNKNOWN;

  async function read(): Promise<DatabaseState> {
    const [missingMigrations, unknownMigrations] = await Promise.all([db.missingMigrations(), db.unknownMigrations()]);
    const schema = { trouble: undefined, missingMigrations, unknownMigrations };
    if (missingMigrations.length + unknownMigrations.length > 0) return { ...lastRead(), ...schema };
    const backlog = await outbox.backlog();
    const [subscriptions, blockedLanes, pausedTopics, topicsWithoutHandler, disabledWebhooks] = await Promise.all([
      outbox.subscriptions(backlog),
      outbox.blockedLanes(),
      outbox.pausedTopics(),
      outbox.topicsWithoutHandler(),
      webhooks.disabled(),
    ]);
    const state = { backlog, subscriptions, blockedLanes, pausedTopics, topicsWithoutHandler };
    return { ...schema, ...state, disabledWebhooks };
  }

  function toTrouble(error: unknown): Trouble {
    const trouble = troubleOf(error);
    if (!trouble) log.error({ err: error }, 'the health check of the database failed');
    return trouble ?? FAILING;
  }

  async function currentState(): Promise<DatabaseState> {
    await reads.refresh();
    return reads.isAnswered ? lastRead() : { ...lastRead(), trouble: UNANSWERED };
  }

  /** Adds the trouble of the write probe, unless the read has found one. */
  function withProbe(state: DatabaseState): DatabaseState {
    if (!isReadable(state)) return state;
    return { ...state, trouble: writes.isAnswered ? writes.value : UNANSWERED };
  }

  function failingTasks() {
    return tasks
      .map(task => task.health)
      .filter(({ failures }) => failures > 0)
      .map(({ name, failures, error }) => ({ name, failures, error: publicMessage(error) }));
  }

  function toHealth(state: DatabaseState): Checked {
    const { draining } = drain;
    // What waits for webhooks may wait for their endpoints.
    const outside = new Set(
      state.subscriptions.flatMap(({ subscription: { kind, subscription_id } }) =>
        kind === 'webhook' ? subscription_id : [],
      ),
    );
    const oldest = oldestPending(state.backlog.filter(({ subscription_id }) => !outside.has(subscription_id ?? 0)));
    const age = oldest === null ? null : Math.max(0, (clock.now() - oldest) / 1000);
    const reasons = reasonsOf({
      database: state,
      oldestAge: age,
      worker: worker.health,
      failingTasks: failingTasks(),
      dispatches,
      draining,
    });
    const counts = BACKLOG.map(status => [status, countOf(state.backlog, status)]);
    return {
      status: statusOf(reasons),
      reasons,
      database: isReadable(state) ? 'ok' : 'down',
      worker: worker.health,
      outbox: {
        ...(Object.fromEntries(counts) as Record<(typeof BACKLOG)[number], number>),
        oldest_pending_at: toTimestampOrNull(oldest),
        oldest_pending_age_seconds: age,
      },
      topics_without_handler: state.topicsWithoutHandler,
    };
  }

  return {
    /** Checks everything, including a write to the database. */
    async check(): Promise<Checked> {
      const [state] = await Promise.all([currentState(), writes.refresh()]);
      return toHealth(withProbe(state));
    },

    /**
     * As {@link check}, but without a write: it reuses the last write probe for a minute. For scrapes, which must not
     * compete for the writer. `database` is undefined if the database cannot be read.
     */
    async checkReadOnly(): Promise<{ status: Health['status']; database: DatabaseState | undefined }> {
      const state = await currentState();
      const { status } = toHealth(writes.age < PROBE_REUSED_MS ? withProbe(state) : state);
      return { status, database: isReadable(state) ? state : undefined };
    },
  };
}

/** Whether the last read succeeded on an up-to-date schema. */
function isReadable({ trouble, missingMigrations, unknownMigrations }: DatabaseState): boolean {
  return !trouble && missingMigrations.length + unknownMigrations.length === 0;
}
