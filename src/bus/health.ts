import { type Clock, toTimestampOrNull } from '../clock.ts';
import type { Database } from '../db/database.ts';
import type { Drain } from '../http/drain.ts';
import type { MessageCount } from '../outbox/delivery.ts';
import type { Outbox } from '../outbox/service.ts';
import { BACKLOG, oldestPending } from '../outbox/watch.ts';
import type { Health } from './schemas.ts';
import type { Worker } from './worker.ts';

/** A backlog is worth a look when its oldest message has waited this long. */
const BACKLOG_SECONDS = 60;
/** How long the database may take to answer before it counts as down. Milliseconds. */
const PATIENCE_MS = 5000;
/** Who comes within this time shares one look. Milliseconds. */
const FRESH_MS = 1000;
/** How long it is believed that the database takes no writes. Milliseconds. */
const BELIEVED_MS = 60_000;

interface Dependencies {
  db: Database;
  outbox: Pick<Outbox, 'backlog' | 'pausedTopics' | 'topicsWithoutHandler'>;
  worker: Pick<Worker, 'health'>;
  clock: Clock;
  drain: Drain;
}

/** What the database says, read without writing. */
export interface Look {
  backlog: MessageCount[];
  pausedTopics: string[];
  topicsWithoutHandler: string[];
}

export type HealthCheck = ReturnType<typeof createHealth>;

/** Says how the service is; asks the database at most once a second, however many ask. */
export function createHealth({ db, outbox, worker, clock, drain }: Dependencies) {
  /** Undefined if the database cannot be read, does not answer or lacks migrations. */
  const look = shared(clock, () => within(PATIENCE_MS, read()));
  const writes = shared(clock, () => within(PATIENCE_MS, write()));
  let refusedAt = Number.NEGATIVE_INFINITY;

  async function read(): Promise<Look | undefined> {
    const [missing, backlog, pausedTopics, topicsWithoutHandler] = await Promise.all([
      db.missingMigrations(),
      outbox.backlog(),
      outbox.pausedTopics(),
      outbox.topicsWithoutHandler(),
    ]);
    return missing.length > 0 ? undefined : { backlog, pausedTopics, topicsWithoutHandler };
  }

  async function write(): Promise<true> {
    await db.write(async () => {}, { place: 'first' });
    return true;
  }

  function judge(found: Look | undefined): Health {
    const { backlog = [], topicsWithoutHandler = [] } = found ?? {};
    const counts = BACKLOG.map(status => {
      const ofStatus = backlog.filter(row => row.status === status);
      return [status, ofStatus.reduce((sum, { count }) => sum + count, 0)];
    });
    const oldest = oldestPending(backlog);
    const health = {
      database: found ? ('ok' as const) : ('down' as const),
      worker: worker.health,
      outbox: {
        ...(Object.fromEntries(counts) as Record<(typeof BACKLOG)[number], number>),
        oldest_pending_at: toTimestampOrNull(oldest),
        oldest_pending_age_seconds: oldest === null ? null : Math.max(0, (clock.now() - oldest) / 1000),
      },
      topics_without_handler: topicsWithoutHandler,
    };
    return { status: drain.draining ? 'down' : status(health), ...health };
  }

  return {
    /** Whether the database can be read and written, and all the rest. */
    async check(): Promise<Health> {
      const [found, written] = await Promise.all([look(), writes()]);
      refusedAt = written ? Number.NEGATIVE_INFINITY : clock.now();
      return judge(written && found);
    },

    /**
     * As {@link check}, for those who look often and must not take the writer for it: what the last check has found out
     * about writing is believed for a minute. With the look that it is judged by.
     */
    async seen(): Promise<{ status: Health['status']; look: Look | undefined }> {
      const found = await look();
      const refused = clock.now() - refusedAt < BELIEVED_MS;
      return { status: judge(refused ? undefined : found).status, look: found };
    },
  };
}

/** Who asks within a while of somebody else gets the same answer. */
function shared<T>(clock: Clock, ask: () => Promise<T>): () => Promise<T> {
  let last: { at: number; answer: Promise<T> } | undefined;
  return () => {
    if (!last || clock.now() - last.at > FRESH_MS) last = { at: clock.now(), answer: ask() };
    return last.answer;
  };
}

/** Undefined if it fails, or takes longer. */
async function within<T>(milliseconds: number, asked: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, milliseconds, undefined).unref();
  });
  return Promise.race([asked.catch(() => undefined), late]).finally(() => clearTimeout(timer));
}

function status({ database, worker, outbox, topics_without_handler }: Omit<Health, 'status'>): Health['status'] {
  if (database === 'down') return 'down';
  const backlog = (outbox.oldest_pending_age_seconds ?? 0) > BACKLOG_SECONDS;
  return backlog || outbox.dead > 0 || topics_without_handler.length > 0 || worker.consecutive_errors > 0
    ? 'degraded'
    : 'ok';
}
