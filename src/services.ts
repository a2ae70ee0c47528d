import { hostname } from 'node:os';
import { createDispatcher } from './bus/dispatcher.ts';
import type { Handler } from './bus/handler.ts';
import { loadHandlers } from './bus/load-handlers.ts';
import { HandlerRegistry } from './bus/registry.ts';
import { Worker } from './bus/worker.ts';
import { type Clock, type NewUid, newUid, systemClock } from './clock.ts';
import type { Config } from './config.ts';
import { createControl } from './control/service.ts';
import { openDatabase } from './db/open.ts';
import { createEvents } from './events/service.ts';
import type { Logger } from './logging.ts';
import { createOutbox, type Outbox } from './outbox/service.ts';
import { createQuestions } from './questions/service.ts';
import { createSignals } from './signals/service.ts';
import { createThreads } from './threads/service.ts';

/** What a test may put in the place of the world. */
export interface Overrides {
  clock?: Clock;
  newUid?: NewUid;
  random?: () => number;
  /** Registered after those of HANDLERS_DIR. */
  handlers?: Handler[];
}

export type Services = Awaited<ReturnType<typeof createServices>>;

/** The composition root: everything that the process is made of, wired by hand, closed in reverse order. */
export async function createServices(config: Config, log: Logger, overrides: Overrides = {}) {
  const { clock = systemClock, random = Math.random } = overrides;
  const uid = overrides.newUid ?? newUid;
  const loaded = config.HANDLERS_DIR ? await loadHandlers(config.HANDLERS_DIR) : [];
  const registry = new HandlerRegistry([...loaded, ...(overrides.handlers ?? [])]);
  const db = await openDatabase(config.DATABASE_URL, log, overrides.clock);
  try {
    const migrated = await db.migrate();
    if (migrated.length > 0) log.info({ migrations: migrated }, 'database migrated');

    // The log and the outbox need each other: every event is published, and an event's message carries the event.
    const events = createEvents({ db, clock, newUid: uid, publish: (tx, messages) => outbox.enqueue(tx, messages) });
    const outbox: Outbox = createOutbox({
      db,
      clock,
      newUid: uid,
      events,
      workerName: `${hostname()}-${process.pid}`,
      leaseMs: config.LEASE_MS,
      maxAttempts: config.MAX_ATTEMPTS,
      wake: () => worker.wake(),
    });
    const threads = createThreads({ db, clock, newUid: uid, events });
    const control = createControl({ db, clock, events, threads });
    const questions = createQuestions({ db, events, control });
    const signals = createSignals({ db, events, control, questions });

    const backoff = { baseMs: config.BACKOFF_BASE_MS, capMs: config.BACKOFF_CAP_MS };
    const dispatch = createDispatcher({ registry, backoff, clock, random, log, settleWith: outbox.settleWith });
    const worker: Worker = new Worker({
      store: outbox,
      dispatch,
      sweep: () => outbox.unparkHandled(topic => registry.of(topic).length > 0),
      clock,
      log,
      concurrency: config.WORKER_CONCURRENCY,
      pollIntervalMs: config.POLL_INTERVAL_MS,
      leaseMs: config.LEASE_MS,
    });

    return {
      db,
      clock,
      registry,
      events,
      outbox,
      threads,
      control,
      questions,
      signals,
      worker,

      /** Starts the worker, after taking back what a killed predecessor left behind. */
      async start(): Promise<void> {
        const taken = await outbox.takeBack();
        if (taken > 0) log.warn({ count: taken }, 'took back the messages of a process that had died');
        if (config.ROLE !== 'http') worker.start();
      },

      async close(): Promise<void> {
        await worker.stop(config.SHUTDOWN_GRACE_MS);
        await db.close();
      },
    };
  } catch (error) {
    await db.close();
    throw error;
  }
}
