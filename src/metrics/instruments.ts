import { Counter, Gauge, Histogram, type OpenMetricsContentType, Registry } from 'prom-client';

/** Upper bounds of what takes microseconds to seconds: statements, transactions, requests. Seconds. */
const QUICK = [0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Of what may take minutes: handlers, and waiting for one. Seconds. */
const LONG = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600];

export type Instruments = ReturnType<typeof createInstruments>;

/**
 * Every metric of the service, with its help text, in a registry of its own. OPERATIONS.md prints this list as a table; a
 * test compares the two. Labels have few values: no ids, no names that callers choose (see topics.ts for topics).
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

    build: gauge('forumbus_build_info', 'Always 1; says what runs, and on which engine.', 'version', 'engine'),
    health: gauge(
      'forumbus_health_status',
      '1 for the status that GET /bus/health would answer, 0 for the others. A scrape writes nothing: that the database takes no writes is known from the last health check of the past minute.',
      'status',
    ),
    draining: gauge('forumbus_draining', '1 while the service shuts down and takes no new work.'),

    signals: counter('forumbus_signals_total', 'Control signals stored; repeated ones do not count.', 'control_type'),

    requests: counter(
      'forumbus_http_requests_total',
      'Requests answered; operation is none for what the OpenAPI document does not name.',
      'operation',
      'method',
      'status',
    ),
    requestDuration: histogram(
      'forumbus_http_request_duration_seconds',
      QUICK,
      'From the first byte of a request to the last of its answer, with the time that the caller asked to wait.',
      'operation',
    ),
    rejections: counter('forumbus_rejections_total', 'Problem documents sent, by their code.', 'code'),
    waiters: gauge('forumbus_waiters', 'Requests that wait for news of a resource.', 'resource'),
    streams: gauge('forumbus_streams', 'Readers of GET /events/stream.'),

    messages: gauge(
      'forumbus_outbox_messages',
      'Messages that are not done with. Of the whole database, so each process says the same.',
      'topic',
      'status',
    ),
    oldestPending: gauge(
      'forumbus_outbox_oldest_pending_age_seconds',
      'How long the oldest pending message has been waiting; 0 if there is none. Of the whole database.',
      'topic',
    ),
    blockedLanes: gauge(
      'forumbus_outbox_blocked_lanes',
      'Message keys that wait until a dead message is replayed or discarded. Of the whole database.',
    ),
    pausedTopics: gauge('forumbus_outbox_paused_topics', 'Topics that are held. Of the whole database.'),
    unhandledTopics: gauge(
      'forumbus_outbox_topics_without_handler',
      'Topics whose messages wait for a handler. Of the whole database.',
    ),

    running: gauge('forumbus_worker_running', '1 while this process claims messages.'),
    errors: gauge('forumbus_worker_consecutive_errors', 'Claims that have failed since the last one that did not.'),
    lastClaim: gauge(
      'forumbus_worker_last_claim_timestamp_seconds',
      'When the last claim succeeded, also if nothing was due; at first when the worker was started. Without a value in a process that does not dispatch.',
    ),
    dispatchWait: histogram(
      'forumbus_dispatch_wait_seconds',
      LONG,
      'From the claim of a message to the start of its attempt.',
    ),
    dispatchDuration: histogram(
      'forumbus_dispatch_duration_seconds',
      LONG,
      'Attempts, from their start to their outcome; those of transactional handlers with their transaction.',
      'topic',
      'outcome',
    ),
    attempts: counter('forumbus_attempts_total', 'Attempts begun.', 'topic'),
    dead: counter('forumbus_dead_total', 'Messages that became dead.', 'topic'),
    staleAcks: counter(
      'forumbus_stale_acks_total',
      'Outcomes that came after their lease was lost; they changed nothing.',
    ),
    reclaimed: counter(
      'forumbus_leases_reclaimed_total',
      'Leases that did not end with an outcome: taken back from a process that has died, or run out (expired).',
      'reason',
    ),

    writeWait: histogram(
      'forumbus_db_write_wait_seconds',
      QUICK,
      'How long a write waits for its turn: for the writes before it, and for the one writer of the database.',
    ),
    transaction: histogram(
      'forumbus_db_transaction_seconds',
      QUICK,
      'Write transactions: running their works, and committing them.',
      'phase',
    ),
    works: histogram(
      'forumbus_db_transaction_works',
      [1, 2, 4, 8, 16, 32, 64, 128],
      'Writes that shared a transaction and its flush to disk.',
    ),
    reads: histogram('forumbus_db_read_seconds', QUICK, 'Queries outside of write transactions.'),

    loopDelay: histogram(
      'forumbus_event_loop_delay_seconds',
      QUICK,
      'How late the event loop gets to what is due, looked at 20 times a second.',
    ),

    // These names are those of every Prometheus client and of prom-client, so they have no prefix: what is made for any
    // process finds them.
    cpuUser: counter('process_cpu_user_seconds_total', 'CPU time spent in the process itself.'),
    cpuSystem: counter('process_cpu_system_seconds_total', 'CPU time spent in the system on behalf of the process.'),
    cpu: counter('process_cpu_seconds_total', 'CPU time of both kinds.'),
    startTime: gauge('process_start_time_seconds', 'When the process was started.'),
    residentMemory: gauge('process_resident_memory_bytes', 'Memory that the process holds.'),
    openFiles: gauge('process_open_fds', 'Open file descriptors; without a value where there is no /proc.'),
    heapTotal: gauge('nodejs_heap_size_total_bytes', 'Size of the JavaScript heap.'),
    heapUsed: gauge('nodejs_heap_size_used_bytes', 'How much of the heap is used.'),
    externalMemory: gauge('nodejs_external_memory_bytes', 'Memory of objects outside of the heap, such as buffers.'),
    nodeVersion: gauge('nodejs_version_info', 'Always 1; says which Node.js runs.', 'version'),
  };
}

/** What is told of durations: a histogram, or one of its children. */
export interface Durations {
  observe(seconds: number): void;
}
