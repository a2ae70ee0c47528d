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
import { countOf, type Look, reasonsOf, statusOf } from './reasons.ts';
import type { Health } from './schemas.ts';

/** How long a scrape believes what the last check has found out about writing. Milliseconds. */
const BELIEVED_MS = 60_000;

interface Dependencies {
  db: Database;
  outbox: Pick<Outbox, 'backlog' | 'blocking' | 'pausedTopics' | 'topicsWithoutHandler'>;
  worker: Pick<Worker, 'health'>;
  /** The maintenance jobs of this process. */
  tasks: readonly Pick<RepeatingTask, 'health'>[];
  clock: Clock;
  drain: Drain;
  log: Logger;
  /** Whether this process is to have a worker that runs. */
  dispatches: boolean;
}

/** What is known before anything is. */
const NOTHING: Look = {
  trouble: UNANSWERED,
  missingMigrations: [],
  backlog: [],
  blocking: 0,
  pausedTopics: [],
  topicsWithoutHandler: [],
};

export type HealthCheck = ReturnType<typeof createHealth>;

/** Says how the service is: looks at the database at most once a second, however many ask, and never waits long for it. */
export function createHealth({ db, outbox, worker, tasks, clock, drain, log, dispatches }: Dependencies) {
  const reads: CachedCheck<Look> = new CachedCheck(
    () => read().catch(error => ({ ...lastRead(), trouble: troubleFound(error) })),
    clock,
  );
  // Reading may go on while nothing can be written.
  const writes = new CachedCheck<Trouble | undefined>(() => db.probe().then(() => undefined, troubleFound), clock);
  const lastRead = (): Look => reads.known ?? NOTHING;

  async function read(): Promise<Look> {
    const missingMigrations = await db.missingMigrations();
    if (missingMigrations.length > 0) return { ...lastRead(), trouble: undefined, missingMigrations };
    const [backlog, blocking, pausedTopics, topicsWithoutHandler] = await Promise.all([
      outbox.backlog(),
      outbox.blocking(),
      outbox.pausedTopics(),
      outbox.topicsWithoutHandler(),
    ]);
    return { trouble: undefined, missingMigrations, backlog, blocking, pausedTopics, topicsWithoutHandler };
  }

  function troubleFound(error: unknown): Trouble {
    const trouble = troubleOf(error);
    if (!trouble) log.error({ err: error }, 'the database could not be looked at');
    return trouble ?? FAILING;
  }

  async function look(): Promise<Look> {
    await reads.look();
    return reads.isAnswered ? lastRead() : { ...lastRead(), trouble: UNANSWERED };
  }

  /** What reading has found, and else what writing has. */
  function withWrites(found: Look): Look {
    if (found.trouble || found.missingMigrations.length > 0) return found;
    return { ...found, trouble: writes.isAnswered ? writes.known : UNANSWERED };
  }

  function failingTasks() {
    return tasks
      .map(task => task.health)
      .filter(({ failures }) => failures > 0)
      .map(({ name, failures, error }) => ({ name, failures, error: publicMessage(error) }));
  }

  function judged(found: Look): Health {
    const { draining } = drain;
    const oldest = oldestPending(found.backlog);
    const age = oldest === null ? null : Math.max(0, (clock.now() - oldest) / 1000);
    const reasons = reasonsOf({
      look: found,
      oldestAge: age,
      worker: worker.health,
      failingTasks: failingTasks(),
      dispatches,
      draining,
    });
    const counts = BACKLOG.map(status => [status, countOf(found.backlog, status)]);
    return {
      status: statusOf(reasons),
      reasons,
      database: found.trouble || found.missingMigrations.length > 0 ? 'down' : 'ok',
      worker: worker.health,
      outbox: {
        ...(Object.fromEntries(counts) as Record<(typeof BACKLOG)[number], number>),
        oldest_pending_at: toTimestampOrNull(oldest),
        oldest_pending_age_seconds: age,
      },
      topics_without_handler: found.topicsWithoutHandler,
    };
  }

  return {
    /** Whether the database can be read and written, and all the rest. */
    async check(): Promise<Health> {
      const [found] = await Promise.all([look(), writes.look()]);
      return judged(withWrites(found));
    },

    /**
     * As {@link check}, for those who look often and must not take the writer for it: what the last check has found out
     * about writing is believed for a minute. With the look that it is judged by; undefined if the database cannot be read.
     */
    async seen(): Promise<{ status: Health['status']; look: Look | undefined }> {
      const found = await look();
      const { status } = judged(writes.age < BELIEVED_MS ? withWrites(found) : found);
      return { status, look: found.trouble || found.missingMigrations.length > 0 ? undefined : found };
    },
  };
}
