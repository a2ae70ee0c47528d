import { toTimestamp, toTimestampOrNull } from '../clock.ts';
import { eventTopic } from '../events/envelope.ts';
import { eventTypes } from '../events/event-types.ts';
import type { LoggedDelivery } from '../outbox/redelivery.ts';
import type { Attempt } from '../outbox/schemas.ts';
import { isTopicPattern } from '../subscriptions/patterns.ts';
import type { WebhookScope } from '../subscriptions/service.ts';
import { matching, WEBHOOK_PREFIX } from '../subscriptions/subscription.ts';
import type { Target } from './channels/channel.ts';
import type { WebhookRow } from './repository.ts';
import type { Filter, Settings, Webhook, WebhookDelivery } from './schemas.ts';
import type { StoredSecret } from './signature.ts';

/** The name of the subscription of a webhook. */
export function subscriptionName(name: string): string {
  return WEBHOOK_PREFIX + name;
}

/** The topics of event types: `forum.question.*` becomes `forum.events.question.**`. */
function topicsOf(types: readonly string[]): string[] {
  return types.map(type => eventTopic(type === '*' ? 'forum.**' : type.replace(/\.\*$/, '.**')));
}

/** The first of these types that no event has. */
export function strayType(types: readonly string[]): string | undefined {
  return types.find(
    type => !topicsOf([type]).every(isTopicPattern) || matching(topicsOf([type])).eventTypes.size === 0,
  );
}

/** What the subscription of a webhook wants: nothing while it is disabled. */
export function scopeOf({
  event_types,
  filter,
  enabled,
}: Pick<WebhookRow, 'event_types' | 'filter' | 'enabled'>): WebhookScope {
  const { priority_at_least: _, ...scope } = JSON.parse(filter) as Filter;
  return {
    topics: enabled === 1 ? topicsOf(JSON.parse(event_types)) : [],
    filter: Object.keys(scope).length > 0 ? scope : null,
  };
}

export function secretsOf(row: Pick<WebhookRow, 'secrets'>): StoredSecret[] {
  return JSON.parse(row.secrets) as StoredSecret[];
}

/** Where the messages of a channel go. */
export function targetOf({ url, settings }: Pick<WebhookRow, 'url' | 'settings'>): Target {
  return { ...(JSON.parse(settings) as Settings), url };
}

/** The beginning of the URL of a channel: the rest may be a secret. */
function shownUrl(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}/…`;
}

export function toWebhook(row: WebhookRow): Webhook {
  return {
    name: row.subscription.slice(WEBHOOK_PREFIX.length),
    url: row.format === 'standard' ? row.url : shownUrl(row.url),
    format: row.format,
    event_types: JSON.parse(row.event_types),
    filter: JSON.parse(row.filter),
    description: row.description,
    answer_links: row.answer_links === 1,
    enabled: row.enabled === 1,
    disabled_reason: row.disabled_reason,
    failures: row.failures,
    failing_since: toTimestampOrNull(row.failing_since),
    next_probe_at: toTimestampOrNull(row.probe_at),
    secrets: secretsOf(row).map(({ expires_at }) => ({ expires_at: toTimestampOrNull(expires_at) })),
    created_at: toTimestamp(row.created_at),
    updated_at: toTimestamp(row.updated_at),
    version: row.version,
  };
}

const topics = new Map<string, string>(eventTypes.map(type => [eventTopic(type), type]));

export function toDelivery({ row, message_id }: LoggedDelivery): WebhookDelivery {
  const waits = row.status === 'pending' || row.status === 'failed';
  return {
    delivery_id: `dlv_${row.position}`,
    event_id: message_id.replace(/^msg_/, 'evt_'),
    event_type: topics.get(row.topic) ?? row.topic,
    status: row.status,
    reason: row.last_error,
    attempts: (JSON.parse(row.history) as Attempt[]).map(attempt => ({
      at: attempt.started_at,
      status: attempt.http_status ?? null,
      duration_ms: attempt.duration_ms,
      error: attempt.error,
      response_head: attempt.response_head ?? null,
      next_at: attempt.next_at ?? null,
    })),
    next_at: waits ? toTimestamp(row.available_at) : null,
    created_at: toTimestamp(row.created_at),
  };
}
