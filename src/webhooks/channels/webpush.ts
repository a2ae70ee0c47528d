import { createHash } from 'node:crypto';
import webPush from 'web-push';
import type { HttpChannel } from './channel.ts';
import { withOptions } from './notice.ts';

/** How long a push service keeps a message for a device that is away. Seconds. */
const TTL = 86_400;
/** Bytes of a name by which a push service replaces a message that has not arrived yet, before base64url. */
const TOPIC_BYTES = 24;

/** The service worker of a browser; each message is encrypted for it alone (RFC 8291). */
export const webpush: HttpChannel = {
  // A message has at most 4,096 bytes, and a character up to three.
  length: 800,

  request({ notice, to, vapid }) {
    const { title, question_id, isUrgent } = notice;
    const text = withOptions(notice);
    const { url, p256dh = '', auth = '' } = to;
    const tag = question_id ?? 'forumbus';
    const { body, headers } = webPush.generateRequestDetails(
      { endpoint: url, keys: { p256dh, auth } },
      JSON.stringify({ title, body: text, tag, hash: question_id === undefined ? '#/' : `#/q/${question_id}` }),
      {
        ...{ TTL, vapidDetails: vapid, contentEncoding: 'aes128gcm', urgency: isUrgent ? 'high' : 'normal' },
        topic: createHash('sha256').update(tag).digest().subarray(0, TOPIC_BYTES).toString('base64url'),
      },
    );
    return { url, headers: headers as Record<string, string>, body: body as Buffer };
  },
};
