/*
 * The service worker: it shows push messages and opens the page for them. It answers no requests and caches nothing, so
 * that nobody sees old answers. The service makes the messages in src/webhooks/push.ts.
 */

interface Message {
  title: string;
  body: string;
  tag: string;
  /** The view that it is about. */
  hash: string;
}

interface Page {
  focused: boolean;
  focus(): Promise<unknown>;
  postMessage(hash: string): void;
}

/** The used part of the global scope of a service worker. Its types do not go together with those of a window. */
interface Scope {
  addEventListener(type: 'push', listener: (event: Extended & { data: { json(): Message } }) => void): void;
  addEventListener(
    type: 'notificationclick',
    listener: (event: Extended & { notification: Notification }) => void,
  ): void;
  clients: { matchAll(options: object): Promise<Page[]>; openWindow(url: string): Promise<unknown> };
  registration: ServiceWorkerRegistration;
}
interface Extended {
  waitUntil(work: Promise<unknown>): void;
}

const scope = globalThis as unknown as Scope;
const pages = () => scope.clients.matchAll({ type: 'window', includeUncontrolled: true });

scope.addEventListener('push', event => event.waitUntil(show(event.data.json())));
scope.addEventListener('notificationclick', event => {
  const { notification } = event;
  notification.close();
  event.waitUntil(open(notification.data));
});

async function show({ title, body, tag, hash }: Message): Promise<void> {
  // Who looks at the page sees it there.
  if ((await pages()).some(({ focused }) => focused)) return;
  await scope.registration.showNotification(title, { body, tag, data: hash });
}

async function open(hash: string): Promise<void> {
  const [page] = await pages();
  if (!page) return void (await scope.clients.openWindow(new URL(hash, scope.registration.scope).href));
  // The page shows it, even where it may not come to the front.
  await page.focus().catch(() => {});
  page.postMessage(hash);
}
