import { go } from './route.ts';
import { base, client, isRefusal } from './service.ts';
import { myName } from './session.ts';
import { stored } from './settings.ts';

/** What a closed page is told of. */
const EVENT_TYPES = ['forum.question.opened', 'forum.question.approved', 'forum.question.reminded'];

/** The name of the webhook that tells this browser; empty without one. */
export const pushName = stored('push', '');
export const canPush = 'serviceWorker' in navigator && 'PushManager' in window;

interface ScriptUrls {
  createScriptURL(url: string): string;
}
/** Nothing else on the page may make a script of a text. */
const { trustedTypes } = window as { trustedTypes?: { createPolicy(name: string, rules: ScriptUrls): ScriptUrls } };
const scripts = trustedTypes?.createPolicy('worker', { createScriptURL: url => url });

/** The service worker, also for notifications of a page that is open. */
export async function registered(): Promise<ServiceWorkerRegistration> {
  const url = new URL('sw.js', base).href;
  await navigator.serviceWorker.register(scripts?.createScriptURL(url) ?? url);
  return navigator.serviceWorker.ready;
}

/** Opens what a notification was about, and renews the worker of a browser that is told. */
export function watchPush(): void {
  if (!canPush) return;
  navigator.serviceWorker.addEventListener('message', ({ data }) => go(String(data)));
  if (pushName.value !== '') void registered().catch(() => {});
}

/** Has this browser told of new questions while the page is closed. @throws ForumbusError, DOMException */
export async function switchPushOn(): Promise<void> {
  const { pushManager } = await registered();
  const { public_key } = await client.webhooks.pushKey();
  // One that was made for another key cannot be used.
  await (await pushManager.getSubscription())?.unsubscribe();
  const subscription = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: public_key });
  const { endpoint = '', keys = {} } = subscription.toJSON();
  const settings = { p256dh: keys.p256dh as string, auth: keys.auth as string };
  const name = `push-${crypto.randomUUID()}`;
  const description = `A browser of ${myName.value}`;
  try {
    await client.webhooks.create({
      name,
      url: endpoint,
      format: 'webpush',
      settings,
      event_types: EVENT_TYPES,
      description,
    });
  } catch (error) {
    await subscription.unsubscribe();
    throw error;
  }
  pushName.value = name;
}

/** @throws ForumbusError */
export async function switchPushOff(): Promise<void> {
  const name = pushName.value;
  if (name === '') return;
  const { pushManager } = await registered();
  await (await pushManager.getSubscription())?.unsubscribe();
  await client.webhooks.remove(name).catch(error => {
    if (!isRefusal(error, 'WEBHOOK_NOT_FOUND')) throw error;
  });
  pushName.value = '';
}
