import { isDeepStrictEqual } from 'node:util';
import type { Clock, NewUid } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import { eventTopic } from '../events/envelope.ts';
import type { EventLog } from '../events/service.ts';
import type { AnswerLinkService } from '../links/service.ts';
import type { Redelivery } from '../outbox/redelivery.ts';
import { assertPrecondition, type Precondition } from '../precondition.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import type { AddressGuard } from './addresses.ts';
import { CLOSED } from './circuit.ts';
import { pushFault, type Vapid } from './push.ts';
import {
  deleteWebhook,
  findWebhook,
  insertReplay,
  insertWebhook,
  listWebhooks,
  updateWebhook,
  type WebhookRow,
} from './repository.ts';
import type {
  Format,
  NewWebhook,
  PingResult,
  PushKey,
  SecretRotation,
  Settings,
  Webhook,
  WebhookChange,
  WebhookDelivery,
  WebhookDeliveryQuery,
  WebhookReplay,
  WebhookReplayed,
  WebhookWithSecret,
} from './schemas.ts';
import { assertSettings, defaultUrl, hasButtons, invalid } from './settings.ts';
import { newSecret, type StoredSecret, secretFault, valid } from './signature.ts';
import { isSuccess, type Telling } from './telling.ts';
import { scopeOf, secretsOf, strayType, subscriptionName, toDelivery, toWebhook } from './webhook.ts';

/** Webhooks of one service. Each event is fanned out to all of them. */
const MAX_WEBHOOKS = 200;
const DAY_SECONDS = 86_400;
/** Secrets of one webhook that sign: their signatures have to fit into a header that receivers take. */
const MAX_SECRETS = 10;

interface Dependencies {
  db: Database;
  clock: Clock;
  newUid: NewUid;
  events: Pick<EventLog, 'latest' | 'sequenceBefore'>;
  subscriptions: Pick<SubscriptionService, 'addWebhook' | 'changeWebhook' | 'removeWebhook'>;
  redelivery: Pick<Redelivery, 'list' | 'one' | 'retryNow'>;
  guard: Pick<AddressGuard, 'fault'>;
  links: Pick<AnswerLinkService, 'isAvailable'>;
  vapid: Vapid;
  tell: Pick<Telling, 'ping'>;
  commits: CommitNotifier;
}

export type WebhookService = ReturnType<typeof createWebhooks>;

/** Webhooks for those who manage them. sender.ts sends what they get. */
export function createWebhooks(dependencies: Dependencies) {
  const { db, clock, newUid, events, subscriptions, redelivery, guard, links, vapid, tell, commits } = dependencies;

  async function required(reader: Reader, name: string): Promise<WebhookRow> {
    const row = await findWebhook(reader, subscriptionName(name));
    if (!row) throw new Refusal('WEBHOOK_NOT_FOUND', `There is no webhook ${name}.`);
    return row;
  }

  function assertUsable({ url, event_types, answer_links }: WebhookChange, format: Format, settings: Settings): void {
    assertSettings(format, settings);
    const keys = format === 'webpush' ? pushFault(settings) : undefined;
    if (keys !== undefined) throw invalid('settings', keys);
    if (url !== undefined) {
      const way = format === 'email' ? 'mail' : 'http';
      const fault = URL.canParse(url) ? guard.fault(new URL(url), way) : 'must be an absolute URL';
      if (fault !== undefined) throw invalid('url', fault);
    }
    if (answer_links && !links.isAvailable && !hasButtons(format, settings)) {
      throw invalid('answer_links', 'needs the setting PUBLIC_URL, or a channel whose buttons work without');
    }
    const stray = strayType(event_types ?? []);
    if (stray !== undefined) throw invalid('event_types', `names ${stray}, which no event has`);
  }

  /** @throws Refusal VALIDATION_FAILED */
  function toSecret({ secret, secret_expires_at }: SecretRotation): StoredSecret {
    const fault = secret === undefined ? undefined : secretFault(secret);
    if (fault !== undefined) throw invalid('secret', fault);
    const expires_at = secret_expires_at === undefined ? null : Date.parse(secret_expires_at);
    if (expires_at !== null && expires_at <= clock.now()) throw invalid('secret_expires_at', 'is over already');
    return { secret: secret ?? newSecret(), expires_at };
  }

  /** Stores a webhook that has changed, and answers it. */
  async function store(tx: Tx, row: WebhookRow): Promise<WebhookRow> {
    const { subscription: _, subscription_id, version: __, ...changes } = row;
    await updateWebhook(tx, subscription_id, changes);
    changed(tx);
    return { ...row, version: row.version + 1 };
  }

  function changed(tx: Tx): void {
    tx.afterCommit(() => commits.notify('webhook'));
  }

  return {
    /** A page of webhooks by name. @throws Refusal INVALID_CURSOR */
    list({ limit = 50, cursor }: { limit?: number; cursor?: string }): Promise<Page<Webhook>> {
      return readPage({
        ...{ list: 'webhooks', cursor, shape: [''], limit },
        read: (from, count) => listWebhooks(db.read, from?.[0], count),
        keyOf: row => [row.subscription],
        views: rows => rows.map(toWebhook),
      });
    },

    /** The key with which a browser subscribes to push messages of this service. */
    pushKey: (): PushKey => ({ public_key: vapid.publicKey }),

    /** @throws Refusal WEBHOOK_NOT_FOUND */
    get: async (name: string): Promise<Webhook> => toWebhook(await required(db.read, name)),

    /** How many webhooks there are: in use, with an open circuit, disabled by a person, and by the service. */
    async states(): Promise<Record<'ok' | 'waiting' | 'off' | 'disabled', number>> {
      const states = { ok: 0, waiting: 0, off: 0, disabled: 0 };
      for (const { enabled, disabled_reason, probe_at } of await listWebhooks(db.read)) {
        if (disabled_reason !== null) states.disabled += 1;
        else if (enabled === 0) states.off += 1;
        else states[probe_at === null ? 'ok' : 'waiting'] += 1;
      }
      return states;
    },

    /** The names of the webhooks that the service itself has disabled. */
    async disabled(): Promise<string[]> {
      const rows = await listWebhooks(db.read);
      return rows.filter(row => row.disabled_reason !== null).map(row => toWebhook(row).name);
    },

    /** @throws Refusal VALIDATION_FAILED, WEBHOOK_EXISTS, TOO_MANY_WEBHOOKS */
    async create(tx: Tx, wanted: NewWebhook): Promise<WebhookWithSecret> {
      const { format = 'standard', settings = {} } = wanted;
      const { url = defaultUrl(format, settings) } = wanted;
      assertUsable({ ...wanted, url }, format, settings);
      const first = toSecret(wanted);
      const subscription = subscriptionName(wanted.name);
      const others = await listWebhooks(tx);
      if (others.some(row => row.subscription === subscription)) {
        throw new Refusal('WEBHOOK_EXISTS', `There is a webhook ${wanted.name} already.`);
      }
      if (others.length >= MAX_WEBHOOKS) {
        throw new Refusal('TOO_MANY_WEBHOOKS', `There are ${MAX_WEBHOOKS} webhooks, and no more are allowed.`);
      }
      const now = clock.now();
      const enabled = wanted.enabled === false ? 0 : 1;
      const content = {
        ...{ url, format, settings: JSON.stringify(settings) },
        event_types: JSON.stringify(wanted.event_types),
        filter: JSON.stringify(wanted.filter ?? {}),
        ...{ secrets: JSON.stringify([first]), description: wanted.description ?? null },
        ...{
          answer_links: wanted.answer_links ? 1 : 0,
          enabled,
          disabled_reason: null,
          ...CLOSED,
          created_at: now,
          updated_at: now,
          version: 1,
        },
      };
      const subscription_id = await subscriptions.addWebhook(tx, subscription, scopeOf(content));
      await insertWebhook(tx, { ...content, subscription_id });
      changed(tx);
      return { ...toWebhook({ ...content, subscription_id, subscription }), secret: first.secret };
    },

    /**
     * Changes a webhook. Another URL, or enabling it again, forgets its failures. Another URL gets at once what the old one
     * had put off. One that is enabled starts at the head of the log; what waited for a disabled one is discarded.
     * @throws Refusal VALIDATION_FAILED, WEBHOOK_NOT_FOUND, PRECONDITION_FAILED
     */
    async change(tx: Tx, name: string, wanted: WebhookChange, expected: Precondition): Promise<Webhook> {
      const row = await required(tx, name);
      assertPrecondition(expected, row.version);
      const settings = wanted.settings ?? (JSON.parse(row.settings) as Settings);
      assertUsable(wanted, row.format, settings);
      const enabled = wanted.enabled === undefined ? row.enabled : wanted.enabled ? 1 : 0;
      const url = wanted.url ?? row.url;
      const isFresh = url !== row.url || enabled !== row.enabled;
      const next: WebhookRow = {
        ...row,
        url,
        settings: JSON.stringify(settings),
        event_types: wanted.event_types ? JSON.stringify(wanted.event_types) : row.event_types,
        filter: wanted.filter ? JSON.stringify(wanted.filter) : row.filter,
        description: wanted.description === undefined ? row.description : wanted.description,
        answer_links: Number(wanted.answer_links ?? row.answer_links),
        enabled,
        ...(isFresh && CLOSED),
        ...(enabled !== row.enabled && { disabled_reason: null }),
      };
      if (isDeepStrictEqual(next, row)) return toWebhook(row);
      const isSame = JSON.stringify(scopeOf(next)) === JSON.stringify(scopeOf(row));
      if (!isSame) await subscriptions.changeWebhook(tx, row.subscription_id, scopeOf(next));
      if (url !== row.url) redelivery.retryNow(tx, row.subscription_id);
      return toWebhook(await store(tx, { ...next, updated_at: clock.now() }));
    },

    /** Deletes a webhook; what waits for it is discarded. @throws Refusal WEBHOOK_NOT_FOUND */
    async remove(tx: Tx, name: string): Promise<void> {
      const row = await required(tx, name);
      await subscriptions.removeWebhook(tx, row.subscription_id);
      await deleteWebhook(tx, row.subscription_id);
      changed(tx);
    },

    /**
     * Gives a webhook another secret. Those before sign beside it for some time; of too many, the oldest end at once.
     * @throws Refusal VALIDATION_FAILED, WEBHOOK_NOT_FOUND
     */
    async rotate(tx: Tx, name: string, wanted: SecretRotation): Promise<WebhookWithSecret> {
      const row = await required(tx, name);
      const first = toSecret(wanted);
      const now = clock.now();
      const until = now + (wanted.grace_seconds ?? DAY_SECONDS) * 1000;
      const before = valid(secretsOf(row), now).map(({ secret, expires_at }) => ({
        secret,
        expires_at: Math.min(expires_at ?? until, until),
      }));
      const secrets = [first, ...valid(before, now)].slice(0, MAX_SECRETS);
      const next = await store(tx, { ...row, secrets: JSON.stringify(secrets), updated_at: now });
      return { ...toWebhook(next), secret: first.secret };
    },

    /** Sends a ping, which is no event, and answers what came of it. @throws Refusal WEBHOOK_NOT_FOUND */
    async ping(name: string, signal: AbortSignal): Promise<PingResult> {
      const row = await required(db.read, name);
      const secrets = valid(secretsOf(row), clock.now());
      if (secrets.length === 0) {
        const error = 'The last secret of the webhook has expired: POST /webhooks/{name}/rotate-secret.';
        return { ok: false, status: null, duration_ms: 0, error, response_head: null };
      }
      const began = performance.now();
      const answer = await tell.ping(row, newUid(), secrets, signal);
      const { status, head, error } = answer;
      const ok = isSuccess(answer);
      return { ok, status, duration_ms: Math.round(performance.now() - began), error, response_head: head };
    },

    /** What a webhook got, newest first. @throws Refusal WEBHOOK_NOT_FOUND, INVALID_CURSOR */
    async deliveries(
      name: string,
      { limit = 50, cursor, status, event_type }: WebhookDeliveryQuery,
    ): Promise<Page<WebhookDelivery>> {
      const { subscription_id } = await required(db.read, name);
      const topic = event_type === undefined ? undefined : eventTopic(event_type);
      const page = await redelivery.list(subscription_id, { limit, cursor }, { status, topic });
      return { ...page, items: page.items.map(toDelivery) };
    },

    /**
     * Sends a delivery that has ended again, or a range of the log. A job does the latter.
     * @throws Refusal WEBHOOK_NOT_FOUND, WEBHOOK_DISABLED, DELIVERY_NOT_FOUND, MESSAGE_STATUS_CONFLICT, VALIDATION_FAILED
     */
    async replay(
      tx: Tx,
      name: string,
      { delivery_id, since, until, missing_since }: WebhookReplay,
    ): Promise<WebhookReplayed> {
      const { subscription_id, enabled } = await required(tx, name);
      if (enabled === 0) throw new Refusal('WEBHOOK_DISABLED', `The webhook ${name} is disabled: enable it first.`);
      const given = [delivery_id, since, missing_since].filter(value => value !== undefined);
      if (given.length !== 1 || (until !== undefined && since === undefined)) {
        throw invalid('', 'must have one of delivery_id, since (with or without until) and missing_since');
      }
      if (since !== undefined && until !== undefined && Date.parse(until) <= Date.parse(since)) {
        throw invalid('until', 'must be after since');
      }
      if (delivery_id !== undefined) {
        const row = await redelivery.one(tx, subscription_id, Number(delivery_id.slice('dlv_'.length)));
        const sequence = row.event_sequence as number;
        return { name, after: sequence - 1, up_to: sequence };
      }
      const after = await events.sequenceBefore(tx, Date.parse(since ?? (missing_since as string)));
      const up_to = until === undefined ? await events.latest(tx) : await events.sequenceBefore(tx, Date.parse(until));
      const missing = missing_since === undefined ? 0 : 1;
      if (up_to > after) await insertReplay(tx, { subscription_id, after_sequence: after, up_to, missing });
      return { name, after, up_to };
    },
  };
}
