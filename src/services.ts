import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { TokenWatch } from './access/long-requests.ts';
import { createAccess } from './access/service.ts';
import { type Clock, type NewUid, newUid, systemClock } from './clock.ts';
import type { Config } from './config.ts';
import { createControl } from './control/service.ts';
import { errorCode, publicMessage } from './db/errors.ts';
import { openDatabase } from './db/open.ts';
import { StartError } from './errors.ts';
import { ChangeFeed } from './events/feed.ts';
import { createEvents } from './events/service.ts';
import { bodyValidator } from './http/validation.ts';
import { createIdempotencyKeys } from './idempotency/service.ts';
import type { Logger } from './logging.ts';
import { createDeliveryMetrics } from './metrics/deliveries.ts';
import { createMetrics } from './metrics/metrics.ts';
import { watchEventLoop } from './metrics/process.ts';
import { createTopicLabels } from './metrics/topics.ts';
import { createDeliveries } from './outbox/delivery-service.ts';
import { createOutbox, type Outbox } from './outbox/service.ts';
import { createQuestions, type Questions } from './questions/service.ts';
import { createQuestionWaiters } from './questions/waiting.ts';
import { createRuns } from './runs/service.ts';
import { createRunWaiters } from './runs/waiting.ts';
import { components } from './schema-registry.ts';
import { createSearch } from './search/service.ts';
import { createSignals } from './signals/service.ts';
import { createCounts } from './threads/counts.ts';
import { createThreadLists } from './threads/lists.ts';
import { createReads } from './threads/seen.ts';
import { createThreads } from './threads/service.ts';
import { createTopics } from './topics/index.ts';
import { createTracing } from './tracing.ts';
import { createDispatcher } from './worker/dispatcher.ts';
import { defaultPolicy, type HandlerDefinition } from './worker/handler.ts';
import { loadHandlers } from './worker/load-handlers.ts';
import { HandlerRegistry, isHandled } from './worker/registry.ts';
import { Housekeeping } from './worker/repeating-task.ts';
import { Worker } from './worker/worker.ts';

/** What a test may put in the place of the world. */
export interface Overrides {
  clock?: Clock;
  newUid?: NewUid;
  random?: () => number;
  /** Registered after those of HANDLERS_DIR. */
  handlers?: HandlerDefinition[];
}

export type Services = Awaited<ReturnType<typeof createServices>>;

/** The composition root: everything that the process is made of, wired by hand, closed in reverse order. */
export async function createServices(config: Config, log: Logger, overrides: Overrides = {}) {
  const { clock = systemClock, random = Math.random } = overrides;
  const uid = overrides.newUid ?? newUid;
  const policy = defaultPolicy(config);
  const loaded = config.HANDLERS_DIR ? await loadHandlers(config.HANDLERS_DIR, policy) : [];
  const metrics = createMetrics();
  const db = await openDatabase(config.DATABASE_URL, log, overrides.clock, metrics.database);
  try {
    const migrated = await db.migrate();
    if (migrated.length > 0) log.info({ migrations: migrated }, 'database migrated');

    const access = createAccess({ db, clock, changed: () => watch.changed() });
    const limits = { stream: config.STREAMS_PER_CALLER, wait: config.WAITS_PER_CALLER };
    const watch: TokenWatch = new TokenWatch({ access, limits, pollIntervalMs: config.POLL_INTERVAL_MS, log });
    if (config.ADMIN_TOKEN_FILE) {
      const token = await adminToken(config.ADMIN_TOKEN_FILE);
      await db.write(tx => access.adopt(tx, token));
    }
    await watch.start();

    // The log and the outbox need each other: every event is published, and an event's message carries the event.
    const events = createEvents({ db, clock, newUid: uid, publish: (tx, messages) => outbox.enqueue(tx, messages) });
    const wake = () => worker.wake();
    /** Something was committed that others may wait for: whoever follows the log, other processes, and the worker. */
    const recorded = () => {
      feed.wake();
      db.announce();
    };
    const published = () => {
      wake();
      recorded();
    };
    /** Where nobody else dispatches, this process knows who subscribes. */
    const isSubscribed = (topic: string) => db.shared || config.ROLE !== 'all' || registry.of(topic).length > 0;
    const outbox: Outbox = createOutbox({
      db,
      clock,
      newUid: uid,
      events,
      maxAttempts: config.MAX_ATTEMPTS,
      isSubscribed,
      published,
      recorded,
    });
    const counts = createCounts({ db });
    const search = createSearch({ db });
    const reads = createReads();
    // Threads know nothing of questions, but a control thread takes those that wait in it along when it is closed.
    const withdrawQuestions: Questions['withdraw'] = (...withdrawal) => questions.withdraw(...withdrawal);
    const threads = createThreads({ db, clock, newUid: uid, events, counts, search, reads, withdrawQuestions });
    const threadLists = createThreadLists({ db, events, reads, search });
    const control = createControl({ db, clock, events, threads });
    const questions: Questions = createQuestions({ db, clock, events, control });
    const selfValidation = config.SELF_VALIDATION === 'allow';
    const signals = createSignals({ db, events, control, questions, selfValidation, stored: metrics.stored });
    const keys = createIdempotencyKeys({ db, clock });
    const runs = createRuns({ db, events, threads, control, questions });

    const ending = new AbortController();
    const feed: ChangeFeed = new ChangeFeed({
      read: async (after, limit) => (await events.after(after, {}, limit)).items,
      latest: () => events.latest(db.read),
      pollIntervalMs: config.POLL_INTERVAL_MS,
      log,
    });
    const questionWaiters = createQuestionWaiters(feed, questions, ending.signal);
    const runWaiters = createRunWaiters(feed, runs, ending.signal);

    const own = createTopics({ threads, signals, validator: bodyValidator(components) });
    const given = [own, ...(overrides.handlers ?? [])];
    const registry: HandlerRegistry = new HandlerRegistry([
      ...loaded,
      ...given.map(handler => ({ ...handler, policy: { ...policy, ...handler.policy } })),
    ]);

    // Process ids come back, in containers at every start; names must not.
    const workerName = `${hostname()}-${process.pid}-${uid().slice(-8)}`;
    const deliveries = createDeliveries({
      db,
      clock,
      newUid: uid,
      events,
      workerName,
      leaseMs: config.LEASE_MS,
      retentionMs: config.OUTBOX_RETENTION_HOURS * 3_600_000,
      wake,
    });
    const keptApart = new Set(await deliveries.consumersInLanes());
    const topics = createTopicLabels(registry.handlers);
    const watched = createDeliveryMetrics(metrics.instruments, topics, clock);
    const { settleWith } = deliveries;
    const tracing = createTracing();
    const worker: Worker = new Worker({
      store: watched.counting(deliveries),
      dispatch: watched.timing(createDispatcher({ registry, clock, random, log, tracing, settleWith, keptApart })),
      clock,
      log,
      concurrency: config.WORKER_CONCURRENCY,
      pollIntervalMs: config.POLL_INTERVAL_MS,
      leaseMs: config.LEASE_MS,
      explain: publicMessage,
    });

    const takeBack = async () => {
      const { count, again } = await deliveries.takeBack();
      if (count === 0) return;
      log.warn({ count }, 'took back the messages of a process that has died');
      watched.takenBack(count);
      // Handled side by side, all of them would use up their attempts with the one that ends the process every time.
      if (again) worker.beCareful(count);
    };
    const housekeeping = new Housekeeping(
      async () => {
        await takeBack();
        await questions.expireOverdue();
        await deliveries.unparkReady((topic, consumer) => isHandled(registry, topic, consumer));
        await deliveries.deleteOld();
        await keys.deleteOld();
      },
      config.POLL_INTERVAL_MS,
      log,
    );

    const unwatch = watchEventLoop(metrics.instruments);
    let stopped: Promise<unknown> | undefined;
    /** Claims nothing more and lets handlers end, or gives their leases back. */
    const stop = () => {
      stopped ??= Promise.all([housekeeping.stop(), worker.stop(config.SHUTDOWN_GRACE_MS)]);
      return stopped;
    };

    return {
      db,
      clock,
      access,
      watch,
      registry,
      metrics,
      topics,
      events,
      outbox,
      deliveries,
      counts,
      threads,
      threadLists,
      control,
      questions,
      signals,
      runs,
      keys,
      feed,
      questionWaiters,
      runWaiters,
      /** Aborted when whoever waits or streams is to be let go. */
      ending: ending.signal,
      worker,
      tracing,

      /** Makes this process known to the others and, unless it only serves HTTP, starts its worker. */
      async start(): Promise<void> {
        db.onOthersWrites(() => {
          worker.wake();
          feed.wake();
        });
        await db.presence.announce(workerName);
        // First of all, or the worker would claim what a killed predecessor had as if nothing had happened.
        await takeBack();
        if (config.ROLE === 'http') return;
        watched.started();
        worker.start();
        housekeeping.start();
      },

      stop,

      /** Answers everybody who waits, and ends the streams. */
      release(): void {
        ending.abort();
      },

      async close(): Promise<void> {
        ending.abort();
        watch.stop();
        unwatch();
        await Promise.all([stop(), feed.close()]);
        await db.close();
      },
    };
  } catch (error) {
    await db.close();
    throw error;
  }
}

/** @throws StartError if the file cannot be read */
async function adminToken(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new StartError(`The file ${file} that ADMIN_TOKEN_FILE names cannot be read (${errorCode(error)}).`);
  }
}
