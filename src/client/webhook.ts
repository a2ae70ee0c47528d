import { ForumbusError } from './error.ts';

/** The age of a message beyond which it counts as repeated by a stranger. Seconds. */
const TOLERANCE = 300;

interface HeaderList {
  get(name: string): string | null;
}

/**
 * Verifies a webhook (Standard Webhooks 1.0, symmetric signatures) and returns its parsed body.
 * @param headers of the request; names in any case
 * @param body as it was received, not parsed and written again
 * @param secret `whsec_…`; several while a secret is rotated
 * @throws ForumbusError INVALID_SIGNATURE if no signature is right, or the time is 5 minutes off
 */
export async function verifyWebhook(
  headers: HeaderList | Record<string, string | string[] | undefined>,
  body: string | Uint8Array,
  secret: string | readonly string[],
): Promise<unknown> {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map(name =>
    headerOf(headers, name),
  );
  if (!id || !timestamp || !signatures) throw invalid('The headers of a webhook are missing.');
  const age = Math.abs(Date.now() / 1000 - Number(timestamp));
  if (!(age <= TOLERANCE)) throw invalid('The time of the webhook is more than 5 minutes off.');
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const signed = concat(new TextEncoder().encode(`${id}.${timestamp}.`), bytes);
  const given = signatures.split(' ').flatMap(part => (part.startsWith('v1,') ? [fromBase64(part.slice(3))] : []));
  for (const one of [secret].flat()) {
    const key = await keyOf(one);
    for (const signature of given) {
      // Compares in constant time.
      if (signature && (await crypto.subtle.verify('HMAC', key, signature, signed))) {
        return JSON.parse(new TextDecoder().decode(bytes));
      }
    }
  }
  throw invalid('No signature of the webhook is right.');
}

function keyOf(secret: string) {
  const bytes = fromBase64(secret.replace(/^whsec_/, ''));
  if (!bytes) throw new TypeError('The secret is not whsec_ and base64.');
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
}

function headerOf(headers: HeaderList | Record<string, string | string[] | undefined>, name: string): string | null {
  if (typeof headers.get === 'function') return headers.get(name);
  const [, value = null] = Object.entries(headers).find(([key]) => key.toLowerCase() === name) ?? [];
  return Array.isArray(value) ? (value[0] ?? null) : (value as string | null);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), character => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function concat(head: Uint8Array, tail: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(head.length + tail.length);
  all.set(head);
  all.set(tail, head.length);
  return all;
}

function invalid(message: string): ForumbusError {
  return new ForumbusError('INVALID_SIGNATURE', message);
}
