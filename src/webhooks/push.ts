import { createHash, ECDH } from 'node:crypto';
import webPush from 'web-push';
import type { Reader } from '../db/database.ts';
import type { Event } from '../events/schemas.ts';
import { noticeOf } from './formats.ts';
import { findPushKeys } from './repository.ts';
import type { Settings } from './schemas.ts';

/** The key pair by which push services know this service (RFC 8292), and how they reach its operator. */
export interface Vapid {
  /** base64url. */
  publicKey: string;
  privateKey: string;
  /** A URL. */
  subject: string;
}

/** The body of a request, and headers that go with it. */
export interface Pushed {
  body: Buffer;
  headers: Record<string, string>;
}

/** How long a push service keeps a message for a device that is away. Seconds. */
const TTL = 86_400;
/** The longest text: a message has at most 4,096 bytes, and a character up to three. */
const LENGTH = 800;
/** Bytes of a name by which a push service replaces a message that has not arrived yet, before base64url. */
const TOPIC_BYTES = 24;

/** Reads who this service is for push services. @param publicUrl at which people reach it; may be empty */
export async function readVapid(reader: Reader, publicUrl: string): Promise<Vapid> {
  // Some push services refuse addresses of the machine itself.
  const subject = publicUrl.startsWith('https:') ? publicUrl : 'mailto:forumbus@example.com';
  return { ...(await findPushKeys(reader)), subject };
}

/** Why the keys of a browser cannot encrypt; undefined if they can. */
export function pushFault({ p256dh, auth }: Settings): string | undefined {
  if (p256dh === undefined || auth === undefined) return 'needs the p256dh and auth of the subscription';
  try {
    ECDH.convertKey(p256dh, 'prime256v1', 'base64url');
  } catch {
    return 'has a p256dh that is no public key';
  }
  return undefined;
}

/** A message for the service worker of a browser, encrypted for it alone (RFC 8291). */
export function pushed(
  event: Pick<Event, 'event_type' | 'agent_name' | 'run_id' | 'payload'>,
  url: string,
  { p256dh = '', auth = '' }: Settings,
  vapidDetails: Vapid,
): Pushed {
  const { title, text, isUrgent } = noticeOf(event, LENGTH);
  const id = event.payload.question_id;
  const tag = typeof id === 'string' ? id : 'forumbus';
  const { body, headers } = webPush.generateRequestDetails(
    { endpoint: url, keys: { p256dh, auth } },
    JSON.stringify({ title, body: text, tag, hash: typeof id === 'string' ? `#/q/${id}` : '#/' }),
    {
      ...{ TTL, vapidDetails, contentEncoding: 'aes128gcm', urgency: isUrgent ? 'high' : 'normal' },
      topic: createHash('sha256').update(tag).digest().subarray(0, TOPIC_BYTES).toString('base64url'),
    },
  );
  return { body: body as Buffer, headers: headers as Record<string, string> };
}
