import type { Event } from '../events/schemas.ts';
import type { AnswerLink } from '../links/service.ts';
import { CLOUD_EVENT_TYPE, cloudEvent, pingEvent } from './cloud-event.ts';
import { type Channel, type Rendered, render } from './formats.ts';
import { type Pushed, pushed, type Vapid } from './push.ts';
import type { WebhookRow } from './repository.ts';
import type { Settings } from './schemas.ts';
import { type StoredSecret, signedHeaders } from './signature.ts';
import { toWebhook } from './webhook.ts';

/** What signs: the secrets, and when (epoch milliseconds); the keys of this service for push services. */
interface Signing {
  secrets: readonly StoredSecret[];
  now: number;
  vapid: Vapid;
}

/** The request that tells a webhook of an event. @param link to its question */
export function eventRequest(
  row: WebhookRow,
  message: { message_id: string; payload: unknown },
  link: AnswerLink | undefined,
  signing: Signing,
): Rendered | Pushed {
  const event = message.payload as Event;
  if (row.format === 'standard') return signed(message.message_id, cloudEvent(event, link?.url), signing);
  const channel = channelOf(row);
  if (row.format === 'webpush') return pushed(event, row.url, channel, signing.vapid);
  return render(row.format, event, channel, link);
}

/** The request that tries a webhook. @param uid of the ping, which is no event of the log */
export function pingRequest(row: WebhookRow, uid: string, at: string, signing: Signing): Rendered | Pushed {
  const { name } = toWebhook(row);
  if (row.format === 'standard') return signed(`msg_${uid}`, pingEvent(name, `evt_${uid}`, at), signing);
  const event = { event_type: 'forum.webhook.ping', agent_name: null, run_id: null, payload: { name } };
  const channel = channelOf(row);
  if (row.format === 'webpush') return pushed(event, row.url, channel, signing.vapid);
  return render(row.format, event, channel, undefined);
}

function channelOf({ url, settings }: WebhookRow): Channel {
  return { ...(JSON.parse(settings) as Settings), url };
}

function signed(id: string, body: string, { secrets, now }: Signing): Rendered {
  return { body, headers: { 'content-type': CLOUD_EVENT_TYPE, ...signedHeaders(id, body, secrets, now) } };
}
