import type { LookupFunction } from 'node:net';
import { hostname } from 'node:os';
import { OUTDATED, READ_BY_OTHERS, readAdminFile } from './access/admin-file.ts';
import { LongRequests } from './access/long-requests.ts';
import { createAccess } from './access/service.ts';
import { TokenUses } from './access/token-uses.ts';
import { createAudit } from './audit/service.ts';
import { type Clock, type NewUid, newUid, systemClock } from './clock.ts';
import { coalesce } from './coalesce.ts';
import { CommitNotifier } from './commit-notifier.ts';
import { basePathOf, type Config } from './config.ts';
import { createControl } from './control/service.ts';
import { Sightings } from './control/sightings.ts';
import { publicMessage } from './db/errors.ts';
import { openDatabase } from './db/open.ts';
import { EventFeed } from './events/feed.ts';
import { createEvents } from './events/service.ts';
import { tokenEvents } from './events/token-events.ts';
import { bodyValidator } from './http/validation.ts';
import { createIdempotencyKeys } from './idempotency/service.ts';
import { createInbox, type Inbox } from './inbox/service.ts';
import { createInboxWaiters } from './inbox/waiting.ts';
import { createErasure } from './lifecycle/erasure.ts';
import { createExport } from './lifecycle/export.ts';
import { createAnswerLinks } from './links/service.ts';
import type { Logger } from './logging.ts';
import type { HoldTimes } from './mcp/hold.ts';
import { createDeliveryMetrics } from './metrics/deliveries.ts';
import { createMetrics } from './metrics/metrics.ts';
import { watchEventLoop } from './metrics/process.ts';
import { createTopicLabels } from './metrics/topics.ts';
import { createSingleSignOn } from './oidc/service.ts';
import { oidcSettings } from './oidc/settings.ts';
import { createDeliveryService } from './outbox/delivery-service.ts';
import { createOutboxErasure } from './outbox/erasure.ts';
import { createOutboxMaintenance } from './outbox/maintenance.ts';
import { createRedelivery } from './outbox/redelivery.ts';
import { createOutbox } from './outbox/service.ts';
import { createLogins } from './page/logins.ts';
import { createQuestionIndexing } from './questions/indexing.ts';
import { createQuestionListWaiters } from './questions/list-waiting.ts';
import { createQuestionLists } from './questions/lists.ts';
import { createReminders } from './questions/reminders.ts';
import { createQuestions, type QuestionService } from './questions/service.ts';
import { createQuestionWaiters } from './questions/waiting.ts';
import { createRuns } from './runs/service.ts';
import { createRunWaiters } from './runs/waiting.ts';
import { components } from './schema-registry.ts';
import { createSearch } from './search/service.ts';
import type { SignalVersion, VersionList } from './signals/command.ts';
import { createSignals } from './signals/service.ts';
import { v1 } from './signals/v1.ts';
import { assertDistinct, createSubscriptions } from './subscriptions/service.ts';
import { createIndexing } from './threads/indexing.ts';
import { createThreadLists } from './threads/lists.ts';
import { createSeen } from './threads/seen.ts';
import { createThreads } from './threads/service.ts';
import { createTopics } from './topics/index.ts';
import { strayPatterns } from './topics/stray-patterns.ts';
import { createTracing } from './tracing.ts';
import { createAddressGuard } from './webhooks/addresses.ts';
import { WEBHOOK_ATTEMPTS } from './webhooks/circuit.ts';
import { createEndpoints } from './webhooks/endpoints.ts';
import { createHearing } from './webhooks/hearing.ts';
import { createSendMail } from './webhooks/mail.ts';
import { createPost } from './webhooks/post.ts';
import { readVapid } from './webhooks/push.ts';
import { createReplays } from './webhooks/replays.ts';
import { createSender } from './webhooks/sender.ts';
import { createWebhooks } from './webhooks/service.ts';
import { createOpenSocket } from './webhooks/socket.ts';
import { createTelling } from './webhooks/telling.ts';
import { backoffDelay } from './worker/backoff.ts';
import { createDispatcher } from './worker/dispatcher.ts';
import { defaultPolicy, type Handler, type HandlerDefinition } from './worker/handler.ts';
import { loadHandlers } from './worker/load-handlers.ts';
import { RepeatingTask } from './worker/repeating-task.ts';
import { Worker } from './worker/worker.ts';

/** Replacements for tests. */
export interface Overrides {
  clock?: Clock;
  newUid?: NewUid;
  random?: () => number;
  /** Registered after the handlers of HANDLERS_DIR. */
  handlers?: HandlerDefinition[];
  /** How long calls of MCP tools are held. */
  mcpHoldTimes?: HoldTimes;
  /** Resolves the names in the URLs of webhooks. */
  lookup?: LookupFunction;
  /** Schema versions of control signals beside those of the service. */
  signalVersions?: SignalVersion[];
}

/** Webhooks that one process sends at once. */
const WEBHOOK_CONCURRENCY = 500;
/** How often a process looks for runs that others have erased. Milliseconds. */
const FORGET_MS = 5000;

export type Services = Awaited<ReturnType<typeof createServices>>;

/**
 * The composition root: makes every part of the process and connects them.
 * @param fail called with what the process has to end for
 */
export async function createServices(
  config: Config,
  log: Logger,
  overrides: Overrides = {},
  fail: (error: Error) => void = () => {},
) {
  const { clock = systemClock, random = Math.random } = overrides;
  const uid = overrides.newUid ?? newUid;
  const policy = defaultPolicy(config);
  const basePath = basePathOf(config);
  const loaded = config.HANDLERS_DIR ? await loadHandlers(config.HANDLERS_DIR, policy) : [];
  const metrics = createMetrics();
  const db = await openDatabase(config.DATABASE_URL, log, overrides.clock, metrics.database);
  try {
    const migrated = await db.migrate();
    if (migrated.length > 0) log.info({ migrations: migrated }, 'database migrated');

    const commits = new CommitNotifier();
    for (const kind of ['event', 'message'] as const) commits.on(kind, () => void db.announceCommit());

    // Process ids repeat (in containers at every start); worker names must not.
    const workerName = `${hostname()}-${process.pid}-${uid().slice(-8)}`;
    const events = createEvents({ db, clock, newUid: uid, commits });
    const subscriptions = createSubscriptions({ db, clock, events, commits, process: workerName });
    const maxAttempts = config.MAX_ATTEMPTS;
    const outbox = createOutbox({ db, clock, newUid: uid, events, subscriptions, maxAttempts, commits });
    const search = createSearch({ db });
    const seen = createSeen();
    // Closing a control thread cancels its open questions; threads know questions by this function only.
    const withdrawQuestions: QuestionService['withdraw'] = (...withdrawal) => questions.withdraw(...withdrawal);
    const notifyAgent: Inbox['record'] = (...act) => inbox.record(...act);
    const threads = createThreads({
      ...{ db, clock, newUid: uid, events, search, seen },
      ...{ notifyAgent, withdrawQuestions },
    });
    const threadLists = createThreadLists({ db, events, seen, search });
    const indexing = createIndexing({ db, events, search, log });
    const control = createControl({ db, clock, events, threads, basePath });
    const questions: QuestionService = createQuestions({
      ...{ db, clock, events, control, threads, search },
      openPerAgent: config.OPEN_QUESTIONS_PER_AGENT,
      minDefaultSeconds: config.MIN_DEFAULT_SECONDS,
      ended: metrics.ended,
    });
    const questionLists = createQuestionLists({ db, search, questions });
    const questionIndexing = createQuestionIndexing({ db, events, search });
    const inbox: Inbox = createInbox({ db, events, control, questions });
    const sightings = new Sightings({ db, control, clock, log });
    const selfValidation = config.SELF_VALIDATION === 'allow';
    const versions: VersionList = [v1, ...(overrides.signalVersions ?? [])];
    const signals = createSignals({ db, events, control, questions, versions, selfValidation, stored: metrics.stored });
    const keys = createIdempotencyKeys({ db, clock });
    const runs = createRuns({ db, events, threads, control, questions, basePath });
    const audit = createAudit({ db, clock, log, retentionMs: config.AUDIT_RETENTION_DAYS * 86_400_000 });

    const ending = new AbortController();
    const feed = new EventFeed({
      read: async (after, limit) => (await events.after(after, {}, limit)).items,
      latest: () => events.latest(db.read),
      pollIntervalMs: config.POLL_INTERVAL_MS,
      log,
    });
    commits.on('event', () => feed.wake());
    const questionWaiters = createQuestionWaiters(feed, questions, ending.signal);
    const questionListWaiters = createQuestionListWaiters(feed, questionLists, ending.signal);
    const runWaiters = createRunWaiters(feed, runs, ending.signal);
    const inboxWaiters = createInboxWaiters(feed, inbox, ending.signal);

    const own = createTopics({ threads, signals, validator: bodyValidator(components) });
    const given = [own, ...(overrides.handlers ?? [])];
    const handlers: Handler[] = [
      ...loaded,
      ...given.map(handler => ({ ...handler, policy: { ...policy, ...handler.policy } })),
    ];
    assertDistinct(handlers);
    for (const stray of strayPatterns(handlers)) {
      log.warn(
        stray,
        `the handler gets no message: ${stray.pattern} matches no topic; the nearest is ${stray.nearest}`,
      );
    }

    const uses = new TokenUses({ db, clock, log });
    const used: TokenUses['note'] = row => uses.note(row);
    const oidc = oidcSettings(config);
    const access = createAccess({
      ...{ db, clock, commits, used, record: tokenEvents(events) },
      hasSingleSignOn: oidc !== undefined,
    });
    const logins = createLogins({ db, clock, access });
    const pollIntervalMs = config.POLL_INTERVAL_MS;
    const limits = { stream: config.STREAMS_PER_CALLER, wait: config.WAITS_PER_CALLER };
    const longRequests = new LongRequests({ access, ended: logins.ended, limits, pollIntervalMs, log });
    commits.on('token', () => longRequests.tokensChanged());
    if (config.ADMIN_TOKEN_FILE) {
      const file = config.ADMIN_TOKEN_FILE;
      const { parts, isShown } = await readAdminFile(file);
      if (isShown) log.warn({ file }, READ_BY_OTHERS);
      if ((await db.write(tx => access.adopt(tx, parts))) === 'outdated') log.warn({ file }, OUTDATED);
    }
    await longRequests.start();

    const leaseMs = config.LEASE_MS;
    const deliveries = createDeliveryService({
      ...{ db, clock, newUid: uid, events, subscriptions, workerName, leaseMs, maxAttempts, commits },
    });
    const links = createAnswerLinks({ db, clock, questions, signals, publicUrl: config.PUBLIC_URL });
    const key = () => links.keyFor('single sign-on');
    const singleSignOn = oidc && createSingleSignOn({ settings: oidc, clock, access, logins, key, log });
    const redelivery = createRedelivery({ db, clock, events, commits });
    const guard = createAddressGuard(config.WEBHOOK_ALLOW_CIDRS, overrides.lookup);
    const poster = createPost(guard);
    const vapid = await readVapid(db.read, config.PUBLIC_URL);
    const wire = { post: poster.post, follow: poster.follow, openSocket: createOpenSocket(guard) };
    const tell = createTelling({ db, clock, questions, links, vapid, wire, sendMail: createSendMail(guard) });
    const webhooks = createWebhooks({
      ...{ db, clock, newUid: uid, events, subscriptions },
      ...{ redelivery, guard, links, vapid, tell, commits },
    });
    const erasure = createErasure({
      ...{ db, clock, log, events, search, threads, control, questions, inbox, keys, runs, webhooks: tell },
      outbox: createOutboxErasure({ clock, commits }),
      retentionDays: config.EVENT_RETENTION_DAYS,
    });
    const exportRun = createExport({ db, events, runs, control, threads, threadLists, questionLists });
    const retentionMs = config.OUTBOX_RETENTION_HOURS * 3_600_000;
    const maintenance = createOutboxMaintenance({ db, clock, subscriptions, retentionMs, commits });
    const topics = createTopicLabels(handlers);
    const watched = createDeliveryMetrics(metrics.instruments, topics, clock);
    const { settleWith } = deliveries;
    const tracing = createTracing();
    const byName = new Map(handlers.map(handler => [handler.name, handler]));
    const worker = new Worker({
      store: watched.counting({ ...deliveries, claim: limit => deliveries.claim(limit) }),
      dispatch: watched.timing(createDispatcher({ handlers: byName, clock, random, log, tracing, settleWith })),
      clock,
      log,
      concurrency: config.WORKER_CONCURRENCY,
      pollIntervalMs: config.POLL_INTERVAL_MS,
      leaseMs,
      explain: publicMessage,
      retryDelay: attempt => backoffDelay(policy, attempt, random),
    });

    // Webhooks have a worker of their own: however long they take, handlers do not wait for them.
    const endpoints = createEndpoints({ db, subscriptions });
    const outgoing = createDeliveryService({
      ...{ db, clock, newUid: uid, events, subscriptions: endpoints, workerName, leaseMs },
      maxAttempts: WEBHOOK_ATTEMPTS,
      commits: { notify: () => webhookWorker.wake() },
    });
    const webhookWorker = new Worker({
      store: {
        ...outgoing,
        claim: async (limit, held) =>
          endpoints.own.length === 0 ? [] : outgoing.claim(limit, endpoints.roomBeside(held())),
      },
      dispatch: metrics.countingWebhooks(
        createSender({ db, clock, random, events, subscriptions, questions, threads, tell, commits, log }),
      ),
      clock,
      log,
      concurrency: WEBHOOK_CONCURRENCY,
      pollIntervalMs: config.POLL_INTERVAL_MS,
      leaseMs,
      explain: publicMessage,
      retryDelay: attempt => backoffDelay(policy, attempt, random),
      hasRooms: true,
    });
    const hearing = createHearing({ db, clock, links, wire, process: workerName, log });
    const refreshEndpoints = coalesce(async () => {
      await endpoints.refresh();
      hearing.follow(endpoints.rows);
      webhookWorker.wake();
    });
    // A failed read is tried again by the job.
    if (config.ROLE !== 'http') commits.on('webhook', () => void refreshEndpoints().catch(() => {}));

    const workers = [
      { worker, served: subscriptions },
      { worker: webhookWorker, served: endpoints },
    ];
    for (const { worker, served } of workers) {
      commits.on('claimable', () => worker.wake());
      commits.on('message', () => worker.wake());
      commits.on('event', types => {
        if (served.own.some(({ eventTypes }) => types.some(type => eventTypes.has(type)))) worker.wake();
      });
    }

    const reclaim = async () => {
      const { count, again } = await maintenance.reclaim();
      if (count === 0) return;
      log.warn({ count }, 'reclaimed the messages of a process that has died');
      watched.reclaimed(count);
      // After a second crash, messages run one at a time, so one poison message cannot kill the others.
      if (again) worker.runOneAtATime(count);
    };
    /** The worker's jobs. */
    const jobs = {
      reclaim_leases: reclaim,
      expire_questions: () => questions.expireOverdue(),
      remind_of_questions: createReminders({ db, clock, events, control }),
      mend_lanes: async () => {
        const count = await maintenance.mendLanes();
        if (count > 0) log.warn({ count }, 'gave a head to lanes whose messages nothing would have let go');
      },
      pass_dead_messages: () => maintenance.passDead(),
      withdraw_questions: () => questions.withdrawLeft(),
      unpark_messages: () => maintenance.unparkReady(),
      discard_orphans: () => maintenance.discardOrphans(),
      delete_old_messages: () => maintenance.deleteOld(),
      delete_old_keys: () => keys.deleteOld(),
      delete_old_audit: () => audit.deleteOld(),
      refresh_webhooks: refreshEndpoints,
      forget_messages: () => tell.forget(),
      replay_webhooks: createReplays({ db, subscriptions, redelivery }),
      erase_runs: () => erasure.run(),
      erase_old_runs: () => erasure.eraseOld(),
      index_stored_texts: () => indexing.run(),
      index_stored_questions: () => questionIndexing.run(),
    };
    const failed = (name: string, err: unknown) => log.error({ job: name, err }, 'a maintenance job failed');
    const repeated = (name: string, task: () => Promise<void>, intervalMs = config.POLL_INTERVAL_MS) =>
      new RepeatingTask({ name, task, intervalMs, failed });
    // In every role: each process says who serves what.
    const keepServers = repeated('keep_servers', async () => {
      if (!(await subscriptions.keepServers())) return;
      log.warn('a subscription was deleted while this process was cut off; it registers its handlers again');
      await outbox.register(handlers, true);
    });
    // Each process remembers heads of events, and others may erase them.
    const forgetErased = repeated('forget_erased', () => events.forgetErased(), FORGET_MS);
    const workerTasks = Object.entries(jobs).map(([name, task]) => repeated(name, task));
    const always = db.shared ? [keepServers, forgetErased] : [keepServers];
    const tasks = [...always, ...workerTasks];

    const unwatch = watchEventLoop(metrics.instruments);
    let stopped: Promise<unknown> | undefined;
    /** Stops claiming and waits for handlers; returns the leases of those that do not end. */
    const stop = () => {
      stopped ??= Promise.all([
        ...workers.map(({ worker }) => worker.stop(config.SHUTDOWN_GRACE_MS)),
        ...tasks.map(task => task.stop()),
        hearing.stop(),
      ])
        // Without a database, other processes notice that this one is gone.
        .finally(() => subscriptions.leave().catch(() => {}));
      return stopped;
    };

    return {
      db,
      clock,
      metrics,
      tracing,
      access: { tokens: access, logins, longRequests, singleSignOn },
      forum: {
        events,
        threads,
        threadLists,
        indexing,
        control,
        questions,
        questionLists,
        questionIndexing,
        inbox,
        sightings,
        signals,
        runs,
        erasure,
        exportRun,
        links,
        keys,
        audit,
      },
      waits: {
        feed,
        questionWaiters,
        questionListWaiters,
        runWaiters,
        inboxWaiters,
        /** Aborted when the service stops: it ends streams and answers waits. */
        ending: ending.signal,
      },
      delivery: { outbox, subscriptions, deliveries, maintenance, handlers, topics, worker, tasks, webhooks },

      /** Announces this process to the others and, unless ROLE=http, starts its worker. */
      async start(): Promise<void> {
        db.onRemoteCommit(() => {
          for (const { worker } of workers) worker.wake();
          feed.wake();
        });
        await db.presence.register(workerName);
        db.onOvertaken(fail);
        await outbox.register(handlers, config.ROLE !== 'http');
        // Before the first claim: messages of a killed predecessor must run one at a time if they crashed it twice.
        await reclaim();
        for (const task of always) task.start();
        if (config.ROLE === 'http') return;
        await refreshEndpoints();
        watched.started();
        for (const { worker } of workers) worker.start();
        for (const task of workerTasks) task.start();
      },

      stop,

      /** Answers waiting requests and ends streams. */
      release(): void {
        ending.abort();
      },

      async close(): Promise<void> {
        ending.abort();
        longRequests.stop();
        uses.stop();
        sightings.stop();
        unwatch();
        await Promise.all([stop(), feed.close(), audit.stop()]);
        poster.close();
        await db.close();
      },
    };
  } catch (error) {
    await db.close();
    throw error;
  }
}
