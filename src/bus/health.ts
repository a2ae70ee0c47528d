import type { Clock } from '../clock.ts';
import type { Database } from '../db/database.ts';
import type { Drain } from '../http/drain.ts';
import type { Outbox } from '../outbox/service.ts';
import type { Health } from './schemas.ts';
import type { Worker } from './worker.ts';

/** A backlog is worth a look when its oldest message has waited this long. */
const BACKLOG_SECONDS = 60;
/** How long the database may take to answer before it counts as down. Milliseconds. */
const PATIENCE_MS = 5000;
/** Probes that come together share one look. Milliseconds. */
const FRESH_MS = 500;

interface Dependencies {
  db: Database;
  outbox: Outbox;
  worker: Worker;
  clock: Clock;
  drain: Drain;
}

/** Says how the service is; asks the database at most twice a second, however many probes there are. */
export function createHealth({ db, outbox, worker, clock, drain }: Dependencies): () => Promise<Health> {
  let looked: { at: number; look: Promise<Look> } | undefined;
  return async () => {
    if (!looked || clock.now() - looked.at > FRESH_MS) looked = { at: clock.now(), look: within(PATIENCE_MS, look()) };
    const found = await looked.look;
    const health = { worker: worker.health, ...found };
    return { status: drain.draining ? 'down' : status(health), ...health };
  };

  type Look = Pick<Health, 'database' | 'outbox' | 'topics_without_handler'>;

  async function look(): Promise<Look> {
    const [stats, topics_without_handler, missing] = await Promise.all([
      outbox.stats(),
      outbox.topicsWithoutHandler(),
      db.missingMigrations(),
      db.write(async () => {}),
    ]);
    const { pending, processing, failed, dead } = stats.by_status;
    const { oldest_pending_at, oldest_pending_age_seconds } = stats;
    return {
      database: missing.length > 0 ? 'down' : 'ok',
      outbox: { pending, processing, failed, dead, oldest_pending_at, oldest_pending_age_seconds },
      topics_without_handler,
    };
  }

  async function within(milliseconds: number, looking: Promise<Look>): Promise<Look> {
    const unknown = {
      pending: 0,
      processing: 0,
      failed: 0,
      dead: 0,
      oldest_pending_at: null,
      oldest_pending_age_seconds: null,
    };
    const down: Look = { database: 'down', outbox: unknown, topics_without_handler: [] };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Look>(resolve => {
      timer = setTimeout(resolve, milliseconds, down).unref();
    });
    return Promise.race([looking.catch(() => down), late]).finally(() => clearTimeout(timer));
  }
}

function status({ database, worker, outbox, topics_without_handler }: Omit<Health, 'status'>): Health['status'] {
  if (database === 'down') return 'down';
  const backlog = (outbox.oldest_pending_age_seconds ?? 0) > BACKLOG_SECONDS;
  return backlog || outbox.dead > 0 || topics_without_handler.length > 0 || worker.consecutive_errors > 0
    ? 'degraded'
    : 'ok';
}
