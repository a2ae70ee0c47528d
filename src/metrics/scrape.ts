import type { Clock } from '../clock.ts';
import type { Control } from '../control/service.ts';
import type { Database } from '../db/database.ts';
import { CachedCheck } from '../health/cached-check.ts';
import type { HealthCheck } from '../health/health.ts';
import type { DatabaseState } from '../health/reasons.ts';
import type { Drain } from '../http/drain.ts';
import type { Inbox } from '../inbox/service.ts';
import { BACKLOG } from '../outbox/monitor.ts';
import { priorities } from '../priority.ts';
import type { QuestionService } from '../questions/service.ts';
import type { WebhookService } from '../webhooks/service.ts';
import type { Worker } from '../worker/worker.ts';
import type { Instruments } from './instruments.ts';
import { collectProcessMetrics, setTotal } from './process.ts';
import type { TopicLabels } from './topics.ts';

interface Sized {
  readonly size: number;
}

interface Dependencies {
  version: string;
  db: Pick<Database, 'engine'>;
  instruments: Instruments;
  topics: TopicLabels;
  health: Pick<HealthCheck, 'checkReadOnly'>;
  worker: Pick<Worker, 'health'>;
  questions: Pick<QuestionService, 'openByPriority'>;
  control: Pick<Control, 'inNumbers'>;
  inbox: Pick<Inbox, 'undelivered'>;
  webhooks: Pick<WebhookService, 'states'>;
  questionWaiters: Sized;
  questionListWaiters: Sized;
  runWaiters: Sized;
  inboxWaiters: Sized;
  clock: Clock;
  drain: Drain;
}

/**
 * Answers all metrics as OpenMetrics text. Counters were kept by their parts; gauges are set at the scrape. The gauges
 * of the database use the state of the health check. It is at most a second old and needs no write.
 */
export function createScrape(dependencies: Dependencies): () => Promise<string> {
  const {
    instruments,
    topics,
    health,
    worker,
    questionWaiters,
    questionListWaiters,
    runWaiters,
    inboxWaiters,
    clock,
    drain,
  } = dependencies;

  // The counts fail together with the database, whose state says so.
  const numbers = new CachedCheck(() => readNumbers().catch(() => undefined), clock);

  instruments.build.labels(dependencies.version, dependencies.db.engine).set(1);
  return async () => {
    const { status, database } = await health.checkReadOnly();
    for (const each of ['ok', 'degraded', 'down']) instruments.health.labels(each).set(each === status ? 1 : 0);
    instruments.draining.set(drain.draining ? 1 : 0);
    const { running, consecutive_errors, stale_acks } = worker.health;
    instruments.running.set(running ? 1 : 0);
    instruments.errors.set(consecutive_errors);
    setTotal(instruments.staleAcks, stale_acks);
    instruments.waiters.labels('question').set(questionWaiters.size);
    instruments.waiters.labels('questions').set(questionListWaiters.size);
    instruments.waiters.labels('run').set(runWaiters.size);
    instruments.waiters.labels('inbox').set(inboxWaiters.size);
    setOutboxGauges(database);
    await numbers.refresh();
    setNumbers(database && numbers.value);
    collectProcessMetrics(instruments);
    return canonical(await instruments.registry.metrics());
  };

  async function readNumbers() {
    const { questions, control, inbox, webhooks } = dependencies;
    const [open, agents, items, endpoints] = await Promise.all([
      questions.openByPriority(),
      control.inNumbers(),
      inbox.undelivered(),
      webhooks.states(),
    ]);
    return { open, agents, items, endpoints };
  }

  /** Sets the gauges of questions, agents and webhooks, or removes their values while the database cannot be read. */
  function setNumbers(numbers: Awaited<ReturnType<typeof readNumbers>> | undefined): void {
    const { questionsOpen, oldestQuestion, agentsWaiting, agentsStalled, inboxItems, webhooks } = instruments;
    for (const gauge of [questionsOpen, webhooks]) gauge.reset();
    for (const gauge of [oldestQuestion, agentsWaiting, agentsStalled, inboxItems]) gauge.remove();
    if (!numbers) return;
    const { open, agents, items, endpoints } = numbers;
    for (const priority of priorities) questionsOpen.labels(priority).set(0);
    for (const { priority, count } of open) questionsOpen.labels(priority).set(count);
    const asked = open.map(({ oldest }) => oldest);
    oldestQuestion.set(asked.length === 0 ? 0 : Math.max(0, clock.now() - Math.min(...asked)) / 1000);
    agentsWaiting.set(agents.waiting);
    agentsStalled.set(agents.stalled);
    inboxItems.set(items);
    for (const [state, count] of Object.entries(endpoints)) webhooks.labels(state).set(count);
  }

  /** Sets the gauges of the outbox, or removes their values while the database cannot be read. */
  function setOutboxGauges(database: DatabaseState | undefined): void {
    const { messages, oldestPending, blockedLanes, pausedTopics, unhandledTopics } = instruments;
    const { deliveries, lag, servers } = instruments;
    for (const gauge of [messages, oldestPending, deliveries, lag, servers]) gauge.reset();
    for (const gauge of [blockedLanes, pausedTopics, unhandledTopics]) gauge.remove();
    if (!database) return;
    for (const topic of topics.all) {
      for (const status of BACKLOG) messages.labels(topic, status).set(0);
      oldestPending.labels(topic).set(0);
    }
    const oldest = new Map<string, number>();
    for (const { topic, status, count, oldest: since } of database.backlog) {
      const label = topics.of(topic);
      messages.labels(label, status).inc(count);
      if (status === 'pending' && since !== null) oldest.set(label, Math.min(since, oldest.get(label) ?? since));
    }
    for (const [label, since] of oldest) oldestPending.labels(label).set(Math.max(0, clock.now() - since) / 1000);
    const names = new Map<number | null, string>();
    for (const { subscription, served_by, oldest: since } of database.subscriptions) {
      const { subscription_id, name } = subscription;
      names.set(subscription_id, name);
      for (const status of BACKLOG) deliveries.labels(name, status).set(0);
      lag.labels(name).set(since === null ? 0 : Math.max(0, clock.now() - since) / 1000);
      servers.labels(name).set(served_by.length);
    }
    for (const { subscription_id, status, count } of database.backlog) {
      const name = names.get(subscription_id);
      if (name !== undefined) deliveries.labels(name, status).inc(count);
    }
    blockedLanes.set(database.blockedLanes);
    pausedTopics.set(database.pausedTopics.length);
    unhandledTopics.set(database.topicsWithoutHandler.length);
  }
}

/**
 * Writes whole bucket bounds as `1.0` instead of `1` (OpenMetrics 1.0, canonical numbers): bounds are stored as text.
 * Quotes in label values are escaped, so the pattern matches bounds only.
 */
function canonical(text: string): string {
  return text.replaceAll(/([{,]le="\d+)"/g, '$1.0"');
}
