import type { Clock } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import type { Database, Tx } from '../db/database.ts';
import { isA, textOf } from '../error-text.ts';
import type { Event } from '../events/schemas.ts';
import type { EventLog } from '../events/service.ts';
import type { Logger } from '../logging.ts';
import type { LeasedDelivery } from '../outbox/leased-delivery.ts';
import { type AttemptReport, DROPPED, OF_ERASED_RUN, type Outcome } from '../outbox/outcome.ts';
import { type Priority, priorityRank } from '../priority.ts';
import type { QuestionService } from '../questions/service.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import type { ThreadService } from '../threads/service.ts';
import type { Dispatch } from '../worker/dispatcher.ts';
import { Stopping } from '../worker/handler.ts';
import { WAITING_TYPES } from './channels/notice.ts';
import { afterFailure, CLOSED, isAbandoned, retryDelay } from './circuit.ts';
import { POST_TIMEOUT_MS, type PostAnswer } from './post.ts';
import { deleteWebhook, findWebhook, probeNow, updateWebhook, type WebhookRow } from './repository.ts';
import type { Filter } from './schemas.ts';
import { valid } from './signature.ts';
import { isSuccess, type Telling } from './telling.ts';
import { scopeOf, secretsOf, toWebhook } from './webhook.ts';

interface Dependencies {
  db: Database;
  clock: Clock;
  random: () => number;
  events: Pick<EventLog, 'append' | 'draft'>;
  subscriptions: Pick<SubscriptionService, 'changeWebhook' | 'removeWebhook'>;
  questions: Pick<QuestionService, 'standing'>;
  threads: Pick<ThreadService, 'row'>;
  tell: Pick<Telling, 'event'>;
  commits: CommitNotifier;
  log: Logger;
}

/** How long a probe may take until another one may begin, if its process died. Milliseconds. */
const PROBE_MS = 2 * POST_TIMEOUT_MS;
/** Follows every answer: nothing that people want a message about. */
const UNREMARKABLE = 'forum.question.acknowledged';
const nowhere = { thread_id: null, run_id: null, agent_name: null, ticket: null };
const service = { type: 'system', name: 'forumbus' } as const;

/** Sends the deliveries of webhooks, and keeps their circuits. The worker calls it in place of a handler. */
export function createSender(dependencies: Dependencies): Dispatch {
  const { db, clock, random, events, subscriptions, questions, threads, tell, commits, log } = dependencies;

  /** Why a delivery is not to be sent; undefined if it is. */
  async function reasonToDrop(
    { message }: LeasedDelivery,
    { filter, format, event_types }: WebhookRow,
  ): Promise<string | undefined> {
    const event = message.payload as Event;
    const { event_type } = event;
    if (format !== 'standard' && event_type === UNREMARKABLE && !JSON.parse(event_types).includes(event_type)) {
      return 'people are told of it only if it is named';
    }
    const id = event.payload.question_id;
    const question = typeof id === 'string' ? await questions.standing(db.read, id) : undefined;
    // A program that asks for it again gets it, however late; people are not paged for nothing.
    if (
      WAITING_TYPES.includes(event_type) &&
      (message.generation === 1 || format !== 'standard') &&
      question?.state !== 'open'
    ) {
      return `the question is ${question?.state ?? 'gone'}`;
    }
    const { priority_at_least: least } = JSON.parse(filter) as Filter;
    if (least === undefined || event.thread_id === null) return undefined;
    const { priority } = question ?? (await threads.row(db.read, event.thread_id));
    return priority > priorityRank(least as Priority) ? `it is less urgent than ${least}` : undefined;
  }

  /** Changes the stored webhook as long as it is enabled and has the URL that an attempt was made at. */
  async function update<T>(row: WebhookRow, work: (tx: Tx, row: WebhookRow) => Promise<T>): Promise<T | undefined> {
    return db.write(async tx => {
      const current = await findWebhook(tx, row.subscription);
      if (current?.subscription_id !== row.subscription_id || current.enabled === 0) return undefined;
      if (current.url !== row.url) return undefined;
      tx.afterCommit(() => commits.notify('webhook'));
      return work(tx, current);
    });
  }

  async function disable(tx: Tx, row: WebhookRow, reason: NonNullable<WebhookRow['disabled_reason']>): Promise<void> {
    const disabled = { enabled: 0, disabled_reason: reason, probe_at: null, updated_at: clock.now() };
    await updateWebhook(tx, row.subscription_id, disabled);
    await subscriptions.changeWebhook(tx, row.subscription_id, scopeOf({ ...row, ...disabled }));
    const payload = { name: toWebhook(row).name, reason };
    await events.append(tx, [events.draft(nowhere, service, 'forum.webhook.disabled', payload)]);
  }

  /** A browser that has left does not come back under its address. */
  async function remove(tx: Tx, { subscription_id }: WebhookRow): Promise<void> {
    await subscriptions.removeWebhook(tx, subscription_id);
    await deleteWebhook(tx, subscription_id);
  }

  /** Takes the probe of an open circuit. @returns in how many milliseconds the next one is due; 0 if it was taken */
  async function takeProbe(row: WebhookRow): Promise<number> {
    const wait = await update(row, async (tx, { subscription_id, probe_at }) => {
      const now = await probeNow(tx);
      if (probe_at === null) return 0;
      if (probe_at > now) return probe_at - now;
      await updateWebhook(tx, subscription_id, { probe_at: now + PROBE_MS });
      return 0;
    });
    return wait ?? 0;
  }

  async function succeeded(row: WebhookRow): Promise<void> {
    if (row.failures === 0) return;
    await update(row, async (tx, current) => {
      await updateWebhook(tx, row.subscription_id, CLOSED);
      if (current.probe_at === null) return;
      const payload = { name: toWebhook(row).name };
      await events.append(tx, [events.draft(nowhere, service, 'forum.webhook.recovered', payload)]);
    });
  }

  /**
   * Notes a failed attempt. Answers whether the endpoint is gone: then the webhook has ended. Undefined if the webhook has
   * another URL by now, or has ended otherwise.
   */
  async function failed(row: WebhookRow, { status, retryAfterMs }: PostAnswer): Promise<boolean | undefined> {
    const isProbe = row.probe_at !== null;
    return update(row, async (tx, current) => {
      if (isGone(row, status)) {
        await (row.format === 'webpush' ? remove(tx, current) : disable(tx, current, 'gone'));
        return true;
      }
      // Attempts that began before the circuit opened say nothing new.
      if (current.probe_at !== null && !isProbe) return false;
      const now = await probeNow(tx);
      // The stored time of a probe that was taken is when another one may begin.
      const circuit = afterFailure({ ...current, probe_at: row.probe_at }, now, retryAfterMs);
      await updateWebhook(tx, row.subscription_id, circuit);
      if (isAbandoned(circuit, now)) await disable(tx, { ...current, ...circuit }, 'failing');
      return false;
    });
  }

  async function attempt(delivery: LeasedDelivery, signal: AbortSignal): Promise<Outcome> {
    const { message, consumer, erased } = delivery;
    if (erased) return OF_ERASED_RUN;
    const row = await findWebhook(db.read, consumer);
    if (row?.subscription_id !== delivery.row.subscription_id || row.enabled === 0) {
      return { kind: 'discarded', error: 'The webhook is disabled or deleted.' };
    }
    if (message.attempts > message.max_attempts) {
      const error = message.last_error ?? 'Every attempt ended without a result.';
      return { kind: 'dead', error, blocks: false };
    }
    const reason = await reasonToDrop(delivery, row);
    if (reason !== undefined) return { kind: 'discarded', error: `${DROPPED}${reason}.` };
    const secrets = valid(secretsOf(row), clock.now());
    if (secrets.length === 0) {
      await update(row, (tx, current) => disable(tx, current, 'secret_expired'));
      return { kind: 'discarded', error: 'The last secret of the webhook has expired.' };
    }
    if (row.probe_at !== null) {
      const wait = await takeProbe(row);
      const error = message.last_error ?? 'The circuit is open.';
      if (wait > 0) return { kind: 'postponed', until: clock.now() + wait, error };
    }
    const { message_id, payload } = message;
    const told = { message_id, event: payload as Event, traceparent: delivery.traceparent };
    return outcomeOf(delivery, row, await tell.event(row, told, secrets, signal));
  }

  async function outcomeOf({ message }: LeasedDelivery, row: WebhookRow, answer: PostAnswer): Promise<Outcome> {
    const { status, head, retryAfterMs } = answer;
    const report: AttemptReport = { http_status: status, response_head: head };
    if (isSuccess(answer)) {
      await succeeded(row);
      return { kind: 'sent', report };
    }
    const wasGone = await failed(row, answer);
    const error = answer.error ?? textOfStatus(status as number);
    if (wasGone) return { kind: 'dead', error, blocks: false, report };
    // What an old URL asks for is nothing to the new one.
    if (wasGone === undefined) return { kind: 'retry', delayMs: 0, error, report };
    return again(message.attempts, retryAfterMs, { error, report });
  }

  function again(
    attempts: number,
    retryAfterMs: number | null,
    failure: { error: string; report?: AttemptReport },
  ): Outcome {
    const delayMs = retryDelay(attempts, retryAfterMs, random);
    return delayMs === undefined ? { kind: 'dead', blocks: false, ...failure } : { kind: 'retry', delayMs, ...failure };
  }

  return async (delivery, cancellation) => {
    try {
      return await attempt(delivery, cancellation.signal);
    } catch (error) {
      if (isA(error, Stopping)) return { kind: 'released' };
      const { message_id, attempts } = delivery.message;
      log.error({ err: error, message_id, webhook: delivery.consumer }, 'a webhook could not be attempted');
      return again(attempts, null, { error: textOf(error) });
    }
  };
}

/** Push services say it with 404, too (RFC 8030, 7.3). */
function isGone({ format }: WebhookRow, status: number | null): boolean {
  return status === 410 || (format === 'webpush' && status === 404);
}

function textOfStatus(status: number): string {
  const isRedirect = status >= 300 && status < 400;
  return `The endpoint answered ${status}${isRedirect ? '; redirects are not followed' : ''}.`;
}
