import type { Clock } from '../clock.ts';
import type { Database } from '../db/database.ts';
import type { HealthCheck } from '../health/health.ts';
import type { Look } from '../health/reasons.ts';
import type { Drain } from '../http/drain.ts';
import { BACKLOG } from '../outbox/monitor.ts';
import type { Worker } from '../worker/worker.ts';
import type { Instruments } from './instruments.ts';
import { lookAtProcess, setTotal } from './process.ts';
import type { TopicLabels } from './topics.ts';

interface Waiting {
  readonly size: number;
}

interface Dependencies {
  version: string;
  db: Pick<Database, 'engine'>;
  instruments: Instruments;
  topics: TopicLabels;
  health: Pick<HealthCheck, 'seen'>;
  worker: Pick<Worker, 'health'>;
  questionWaiters: Waiting;
  runWaiters: Waiting;
  clock: Clock;
  drain: Drain;
}

/**
 * All metrics as OpenMetrics text. What others have counted is there; what can be looked up is looked up now. Of the
 * database that is the look of the health check, which is at most a second old and takes no writer.
 */
export function createScrape(dependencies: Dependencies): () => Promise<string> {
  const { instruments, topics, health, worker, questionWaiters, runWaiters, clock, drain } = dependencies;

  instruments.build.labels(dependencies.version, dependencies.db.engine).set(1);
  return async () => {
    const { status, look } = await health.seen();
    for (const each of ['ok', 'degraded', 'down']) instruments.health.labels(each).set(each === status ? 1 : 0);
    instruments.draining.set(drain.draining ? 1 : 0);
    const { running, consecutive_errors, stale_acks } = worker.health;
    instruments.running.set(running ? 1 : 0);
    instruments.errors.set(consecutive_errors);
    setTotal(instruments.staleAcks, stale_acks);
    instruments.waiters.labels('question').set(questionWaiters.size);
    instruments.waiters.labels('run').set(runWaiters.size);
    showLook(look);
    lookAtProcess(instruments);
    return canonical(await instruments.registry.metrics());
  };

  /** Without a look nothing is known, and nothing is said. */
  function showLook(look: Look | undefined): void {
    const { messages, oldestPending, blockedLanes, pausedTopics, unhandledTopics } = instruments;
    messages.reset();
    oldestPending.reset();
    for (const gauge of [blockedLanes, pausedTopics, unhandledTopics]) gauge.remove();
    if (!look) return;
    for (const topic of topics.all) {
      for (const status of BACKLOG) messages.labels(topic, status).set(0);
      oldestPending.labels(topic).set(0);
    }
    const oldest = new Map<string, number>();
    for (const { topic, status, count, oldest: since } of look.backlog) {
      const label = topics.of(topic);
      messages.labels(label, status).inc(count);
      if (status === 'pending' && since !== null) oldest.set(label, Math.min(since, oldest.get(label) ?? since));
    }
    for (const [label, since] of oldest) oldestPending.labels(label).set(Math.max(0, clock.now() - since) / 1000);
    blockedLanes.set(look.blocking);
    pausedTopics.set(look.pausedTopics.length);
    unhandledTopics.set(look.topicsWithoutHandler.length);
  }
}

/**
 * A bucket's bound is text to whoever stores it, so OpenMetrics wants every exposer to write a number alike, `1.0` and not
 * `1` (OpenMetrics 1.0, canonical numbers). Quotes within label values are escaped, so nothing else looks like this.
 */
function canonical(text: string): string {
  return text.replaceAll(/([{,]le="\d+)"/g, '$1.0"');
}
