import type { Browser, Page, Worker } from 'playwright-core';
import { beforeAll, expect, it } from 'vitest';
import { openPerson } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { pageService } from '../helpers/page-service.ts';
import { startPushService } from '../helpers/push-service.ts';
import { toLoopback } from '../helpers/receiver.ts';

const service = pageService(toLoopback);
const soon = { timeout: 120_000, interval: 20 };
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
  return () => browser.close();
});

/** What the service worker has shown and opened. */
interface Shown {
  notifications: object[];
  opened: string[];
}

/** Somebody whose browser subscribes to a push service of this machine: those of Chromium are on the internet. */
async function person() {
  const push = await startPushService();
  const made = await openPerson(browser, () => service.origin);
  await made.context.grantPermissions(['notifications'], { origin: service.origin });
  await made.context.addInitScript(subscription => {
    PushManager.prototype.getSubscription = async () => null;
    PushManager.prototype.subscribe = async options => {
      Object.assign(window, { wanted: options });
      return { toJSON: () => subscription, unsubscribe: async () => true } as unknown as PushSubscription;
    };
  }, push.subscription);
  await made.page.goto(service.origin);
  await made.page.getByRole('heading', { name: 'Needs me' }).waitFor();
  return { ...made, ...push };
}

const settings = async (page: Page) => {
  await page.getByRole('button', { name: 'Settings and keys' }).click();
  return page.getByRole('checkbox', { name: 'Also while the page is closed' });
};
const webhooks = async () => (await service.send('GET', '/webhooks')).body.items;

/** Records what a worker shows and opens. */
const watch = (worker: Worker) =>
  worker.evaluate(() => {
    const scope = globalThis as unknown as {
      registration: ServiceWorkerRegistration;
      clients: { openWindow: (url: string) => Promise<null> };
    };
    const shown: Shown = { notifications: [], opened: [] };
    scope.registration.showNotification = async (title, options) => {
      shown.notifications.push({ title, ...options });
    };
    scope.clients.openWindow = async url => {
      shown.opened.push(url);
      return null;
    };
    Object.assign(globalThis, { shown });
  });
const shown = (worker: Worker) => worker.evaluate(() => (globalThis as unknown as { shown: Shown }).shown);

/** Delivers a message as the push service of the browser does. */
async function deliver(page: Page, message: object): Promise<void> {
  const inspector = await page.context().newCDPSession(page);
  const registered = new Promise<string>(resolve => {
    inspector.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => {
      for (const { registrationId } of registrations) resolve(registrationId);
    });
  });
  await inspector.send('ServiceWorker.enable');
  const registrationId = await registered;
  const data = JSON.stringify(message);
  await inspector.send('ServiceWorker.deliverPushMessage', { origin: service.origin, registrationId, data });
}

/** Presses a notification. */
const press = (worker: Worker, data: string) =>
  worker.evaluate(async hash => {
    let work: Promise<unknown> | undefined;
    const event = Object.assign(new Event('notificationclick'), {
      notification: { data: hash, close() {} },
      waitUntil: (given: Promise<unknown>) => {
        work = given;
      },
    });
    dispatchEvent(event);
    await work;
  }, data);

it('tells a browser of a new question while the page is closed, and opens it', async () => {
  const { page, context, messages } = await person();
  const [worker] = await Promise.all([
    context.waitForEvent('serviceworker'),
    settings(page).then(box => box.check({ force: true })),
  ]);
  await expect.poll(webhooks, soon).toMatchObject([{ format: 'webpush', description: 'A browser of operator' }]);
  const { public_key } = (await service.send('GET', '/push-key')).body;
  expect(await page.evaluate(() => (window as unknown as { wanted: object }).wanted)).toEqual({
    userVisibleOnly: true,
    applicationServerKey: public_key,
  });
  await watch(worker);

  await page.goto('about:blank');
  const id = await service.ask({ agent_name: 'tester', run_id: 'shop', question: 'Which region?' });
  await expect.poll(() => messages.length, soon).toBe(1);
  const message = messages[0]?.message ?? {};
  await deliver(page, message);
  const told = { title: 'tester in shop asks', body: 'Which region?', tag: id, data: `#/q/${id}` };
  await expect.poll(() => shown(worker), soon).toEqual({ notifications: [told], opened: [] });
  await press(worker, told.data);
  expect((await shown(worker)).opened).toEqual([`${service.origin}/#/q/${id}`]);

  // A page that is open shows the question itself, and is not told of what it shows.
  await page.goto(service.origin);
  await page.getByRole('heading', { name: 'Needs me' }).waitFor();
  await deliver(page, { ...message, title: 'Another' });
  await press(worker, told.data);
  await page.locator(`#q-${id}`).getByRole('heading', { name: 'Which region?' }).waitFor();
  expect(new URL(page.url()).hash).toBe(`#/q/${id}`);
  expect(await shown(worker)).toMatchObject({ notifications: [told], opened: [expect.any(String)] });

  const box = await settings(page);
  expect(await box.isChecked()).toBe(true);
  await box.uncheck({ force: true });
  await expect.poll(webhooks, soon).toEqual([]);
});

it('says why a browser cannot be told', async () => {
  const { page, faults } = await person();
  await page.route('**/webhooks', route => route.abort());
  await (await settings(page)).click();
  await page.getByRole('alert').getByText('The service does not answer').waitFor();
  expect(await webhooks()).toEqual([]);
  expect(faults.splice(0).filter(fault => !fault.includes('net::ERR_FAILED'))).toEqual([]);
});
