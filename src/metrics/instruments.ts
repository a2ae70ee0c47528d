import { Counter, Gauge, Histogram, type OpenMetricsContentType, Registry } from '@prometheus-io/client';

/** Bucket bounds for statements, transactions and requests. Seconds. */
const QUICK = [0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Bucket bounds for people. Seconds. */
const HUMAN = [10, 30, 60, 300, 900, 1800, 3600, 14_400, 28_800, 86_400, 259_200, 604_800];
/** Bucket bounds for handlers, which may take minutes. Seconds. */
const LONG = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600];

export type Instruments = ReturnType<typeof createInstruments>;

/**
 * Every metric of the service with its help text, in a registry per service. The table in docs/operations.md has this
 * list, and a test compares the two. Labels have few values: no ids and no names chosen by callers (see topics.ts).
 */
export function createInstruments() {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Gauge({ name, help, labelNames, registers });
  const histogram = <L extends string>(name: string, buckets: number[], help: string, ...labelNames: L[]) =>
    new Histogram({ name, help, labelNames, buckets, registers });

  return {
    registry,

    build: gauge(
      'forumbus_build_info',
      'Always 1; its labels are the version and the database engine.',
      'version',
      'engine',
    ),
    health: gauge(
      'forumbus_health_status',
      '1 for the current status of GET /bus/health, 0 for the others. A scrape does not probe writes: it uses the last probe of the past minute.',
      'status',
    ),
    draining: gauge('forumbus_draining', '1 while the service shuts down.'),

    signals: counter('forumbus_signals_total', 'Control signals stored; repeats do not count.', 'control_type'),

    questionsOpen: gauge(
      'forumbus_questions_open',
      'Open questions in the whole database; every process reports the same.',
      'priority',
    ),
    oldestQuestion: gauge(
      'forumbus_questions_oldest_open_age_seconds',
      'Age of the oldest open question in the whole database; 0 if there is none.',
    ),
    questionsClosed: counter('forumbus_questions_closed_total', 'Questions that ended, by outcome.', 'outcome'),
    answerTime: histogram('forumbus_question_answer_seconds', HUMAN, 'Time from a question to its answer.'),
    agentsWaiting: gauge('forumbus_agents_waiting', 'Agents in the whole database that have open questions.'),
    agentsStalled: gauge(
      'forumbus_agents_stalled',
      'Working agents of open runs that were last heard of more than 30 minutes and less than a day ago.',
    ),
    inboxItems: gauge(
      'forumbus_inbox_items_undelivered',
      'News in the whole database that agents have not acknowledged, up to 10,000.',
    ),
    webhooks: gauge(
      'forumbus_webhooks',
      'Webhooks by state: ok, waiting (the circuit is open), off (by a person), disabled (by the service).',
      'state',
    ),
    webhookDeliveries: counter(
      'forumbus_webhook_deliveries_total',
      'Attempts of webhooks by outcome; retry and dead count failures, discarded what was dropped.',
      'outcome',
    ),

    requests: counter(
      'forumbus_http_requests_total',
      'Requests answered; operation is none for requests outside the OpenAPI document.',
      'operation',
      'method',
      'status',
    ),
    requestDuration: histogram(
      'forumbus_http_request_duration_seconds',
      QUICK,
      'Time from the first byte of a request to the last of its answer, including a requested wait.',
      'operation',
    ),
    rejections: counter('forumbus_rejections_total', 'Problem documents sent, by code.', 'code'),
    waiters: gauge('forumbus_waiters', 'Requests that wait for a change of a resource.', 'resource'),
    streams: gauge('forumbus_streams', 'Open streams of GET /events/stream.'),

    messages: gauge(
      'forumbus_outbox_messages',
      'Unfinished messages in the whole database; every process reports the same.',
      'topic',
      'status',
    ),
    oldestPending: gauge(
      'forumbus_outbox_oldest_pending_age_seconds',
      'Age of the oldest due pending message in the whole database; 0 if there is none.',
      'topic',
    ),
    deliveries: gauge(
      'forumbus_subscription_deliveries',
      'Unfinished deliveries of a subscription in the whole database; every process reports the same.',
      'subscription',
      'status',
    ),
    lag: gauge(
      'forumbus_subscription_lag_seconds',
      'Age of the oldest due delivery of a subscription in the whole database; 0 if there is none.',
      'subscription',
    ),
    servers: gauge(
      'forumbus_subscription_servers',
      'Processes that serve a subscription; 0 if nobody handles its messages.',
      'subscription',
    ),
    blockedLanes: gauge(
      'forumbus_outbox_blocked_lanes',
      'Message keys in the whole database that a dead message blocks until it is replayed or discarded.',
    ),
    pausedTopics: gauge('forumbus_outbox_paused_topics', 'Paused topics in the whole database.'),
    unhandledTopics: gauge(
      'forumbus_outbox_topics_without_handler',
      'Topics in the whole database with published messages that no subscription matches.',
    ),

    running: gauge('forumbus_worker_running', '1 while this process claims messages.'),
    errors: gauge('forumbus_worker_consecutive_errors', 'Failed claims since the last successful one.'),
    lastClaim: gauge(
      'forumbus_worker_last_claim_timestamp_seconds',
      'Time of the last successful claim, even of nothing; initially the start of the worker. Without a value in a process that does not dispatch.',
    ),
    dispatchWait: histogram(
      'forumbus_dispatch_wait_seconds',
      LONG,
      'Time from the claim of a message to the start of its attempt.',
    ),
    dispatchDuration: histogram(
      'forumbus_dispatch_duration_seconds',
      LONG,
      'Duration of attempts, for transactional handlers including the transaction.',
      'topic',
      'outcome',
    ),
    attempts: counter('forumbus_attempts_total', 'Attempts started.', 'topic'),
    dead: counter('forumbus_dead_total', 'Messages that became dead.', 'topic'),
    staleAcks: counter('forumbus_stale_acks_total', 'Outcomes dropped because their lease was lost.'),
    reclaimed: counter(
      'forumbus_leases_reclaimed_total',
      'Leases that ended without an outcome: reclaimed from a dead process (dead_process), or expired.',
      'reason',
    ),

    writeWait: histogram(
      'forumbus_db_write_wait_seconds',
      QUICK,
      'Time that a write waits for earlier writes and for the locks of what it touches.',
    ),
    transaction: histogram(
      'forumbus_db_transaction_seconds',
      QUICK,
      'Duration of write transactions, by phase: run the writes, or commit them.',
      'phase',
    ),
    works: histogram(
      'forumbus_db_transaction_works',
      [1, 2, 4, 8, 16, 32, 64, 128],
      'Writes per transaction, which share one flush to disk.',
    ),
    reads: histogram('forumbus_db_read_seconds', QUICK, 'Duration of queries outside write transactions.'),

    loopDelay: histogram(
      'forumbus_event_loop_delay_seconds',
      QUICK,
      'Delay of the event loop, sampled 20 times a second.',
    ),

    // The names that all Prometheus clients use, so without a prefix: generic dashboards and alerts find them.
    cpuUser: counter('process_cpu_user_seconds_total', 'CPU time spent in user mode.'),
    cpuSystem: counter('process_cpu_system_seconds_total', 'CPU time spent in the kernel for the process.'),
    cpu: counter('process_cpu_seconds_total', 'CPU time in user mode and in the kernel.'),
    startTime: gauge('process_start_time_seconds', 'Start time of the process.'),
    residentMemory: gauge('process_resident_memory_bytes', 'Resident memory of the process.'),
    openFiles: gauge('process_open_fds', 'Open file descriptors; without a value on systems without /proc.'),
    heapTotal: gauge('nodejs_heap_size_total_bytes', 'Size of the JavaScript heap.'),
    heapUsed: gauge('nodejs_heap_size_used_bytes', 'Used part of the JavaScript heap.'),
    externalMemory: gauge('nodejs_external_memory_bytes', 'Memory of objects outside the heap, such as buffers.'),
    nodeVersion: gauge('nodejs_version_info', 'Always 1; its label is the version of Node.js.', 'version'),
  };
}

/** A histogram, or one of its children. */
export interface Durations {
  observe(seconds: number): void;
}
