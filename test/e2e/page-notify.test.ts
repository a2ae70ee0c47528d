import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { openPerson, type Person } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { pageService } from '../helpers/page-service.ts';

const service = pageService();
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
  return () => browser.close();
});

/** What a page has told its person so far. */
interface Told {
  notifications: { title: string; body: string }[];
  sounds: number;
}
const told = (page: Page) => page.evaluate(() => (globalThis as unknown as { told: Told }).told);
const titles = async (page: Page) => (await told(page)).notifications.map(({ title }) => title);
const card = (page: Page, id: string) => page.locator(`#q-${id}`);

/** Somebody who allows notifications, and may look elsewhere. */
async function person(): Promise<Person & { setAway(away: boolean): Promise<void> }> {
  const made = await openPerson(browser, () => service.origin);
  const { context, page } = made;
  await context.grantPermissions(['notifications'], { origin: service.origin });
  await context.addInitScript(() => {
    const told: Told = { notifications: [], sounds: 0 };
    const { Notification: Real, AudioContext: Audio } = window;
    Object.assign(window, {
      told,
      Notification: class extends Real {
        // Chromium without windows says `denied` here, although requestPermission answers what was granted.
        static override permission = 'granted' as const;
        constructor(title: string, options: NotificationOptions = {}) {
          super(title, options);
          told.notifications.push({ title, body: options.body ?? '' });
        }
      },
      AudioContext: class extends Audio {
        constructor() {
          super();
          told.sounds += 1;
        }
      },
    });
    // A browser without windows never loses the focus.
    document.hasFocus = () => !('away' in window && window.away);
  });
  await page.goto(service.origin);
  await page.getByRole('heading', { name: 'Needs me' }).waitFor();
  const setAway = (away: boolean) => page.evaluate(given => void Object.assign(window, { away: given }), away);
  return { ...made, setAway };
}

const switchOn = async (page: Page, ...names: string[]) => {
  await page.getByRole('button', { name: 'Settings and keys' }).click();
  for (const name of names) await page.getByRole('checkbox', { name }).check();
  await page.getByRole('button', { name: 'Close' }).click();
};
/** What Chromium says about requests that a lost connection breaks off. */
const LOST = /net::ERR_|status of 503/;
const forgive = ({ faults }: Person) => faults.splice(0, faults.length, ...faults.filter(fault => !LOST.test(fault)));

describe('a new question', () => {
  it('is told of by a notification, if the person wants that and looks elsewhere', async () => {
    await service.ask({ run_id: 'before', question: 'Asked before?' });
    const { page, setAway } = await person();
    await setAway(true);
    const silent = await service.ask({ run_id: 'silent' });
    await card(page, silent).waitFor();
    expect(await told(page)).toEqual({ notifications: [], sounds: 0 });

    await switchOn(page, 'Notifications of new questions');
    const id = await service.ask({ run_id: 'shop', agent_name: 'tester', question: 'Which\u202E **region**?' });
    await expect.poll(() => titles(page)).toEqual(['tester in shop asks']);
    expect(await told(page)).toEqual({
      notifications: [{ title: 'tester in shop asks', body: 'Which[U+202E] **region**?' }],
      sounds: 0,
    });
    // What happens to it later, and what others ask while the person looks on, is not told.
    await service.send('PUT', `/questions/${id}/answer`, { answer: 'Europe.', actor: { type: 'human', name: 'ben' } });
    await card(page, id).getByText('“Europe.”').waitFor();
    await setAway(false);
    const seen = await service.ask({ run_id: 'seen' });
    await card(page, seen).waitFor();
    expect(await titles(page)).toHaveLength(1);
    // None after a reload: they are old.
    await page.reload();
    await setAway(true);
    await card(page, seen).waitFor();
    const last = await service.ask({ run_id: 'last', agent_name: 'last' });
    await card(page, last).waitFor();
    expect(await titles(page)).toEqual(['last in last asks']);
  });

  it('is told of by the service worker where a page has no notifications of its own, as on phones', async () => {
    const { page, context, setAway } = await person();
    await context.addInitScript(() => {
      Object.assign(window, {
        Notification: class {
          static permission = 'granted';
          static async requestPermission(): Promise<string> {
            return 'granted';
          }
          constructor() {
            throw new TypeError('Illegal constructor');
          }
        },
      });
      const shown: unknown[] = [];
      Object.assign(window, { shown });
      ServiceWorkerRegistration.prototype.showNotification = async (title, { data } = {}) =>
        void shown.push({ title, data });
    });
    await page.reload();
    await switchOn(page, 'Notifications of new questions');
    await setAway(true);
    const id = await service.ask({ run_id: 'phone', agent_name: 'tester' });
    await expect
      .poll(() => page.evaluate(() => (globalThis as unknown as { shown: unknown }).shown))
      .toEqual([{ title: 'tester in phone asks', data: `#/q/${id}` }]);
  });

  it('makes a sound only if that is switched on', async () => {
    const { page } = await person();
    await switchOn(page, 'A sound for new questions');
    const id = await service.ask({ run_id: 'loud' });
    await card(page, id).waitFor();
    await expect.poll(() => told(page)).toEqual({ notifications: [], sounds: 1 });
  });

  it('counts in the title and the icon until it is answered', async () => {
    const { page } = await person();
    const numberOf = async () => Number(/^\((\d+)\) Forumbus$/.exec(await page.title())?.[1] ?? 0);
    const icon = () => page.locator('link[rel=icon]').getAttribute('href');
    const open = (await service.send('GET', '/questions?state=open')).body.items;
    await expect.poll(numberOf).toBe(open.length);
    const id = await service.ask({ run_id: 'counted' });
    await expect.poll(numberOf).toBe(open.length + 1);
    expect(await icon()).toMatch(/icon-new\.svg$/);
    for (const question_id of [id, ...open.map((one: { question_id: string }) => one.question_id)])
      await service.send('POST', `/questions/${question_id}/cancel`, {});
    await expect.poll(() => page.title()).toBe('Forumbus');
    expect(await icon()).toMatch(/icon\.svg$/);
  });
});

describe('after a lost connection', () => {
  it('what was asked meanwhile is told once, together, and nothing again', async () => {
    const ana = await person();
    const { page, context, setAway } = ana;
    await switchOn(page, 'Notifications of new questions', 'A sound for new questions');
    await setAway(true);
    await card(page, await service.ask({ run_id: 'first', agent_name: 'first' })).waitFor();
    await expect.poll(() => titles(page)).toEqual(['first in first asks']);
    await context.setOffline(true);
    const asked = await Promise.all(['a', 'b', 'c'].map(agent_name => service.ask({ run_id: 'lost', agent_name })));
    // Nobody has to hear of a question that has closed.
    await service.send('POST', `/questions/${asked[0]}/cancel`, {});
    await page.getByText('The service does not answer').waitFor({ timeout: 60_000 });
    await context.setOffline(false);
    await card(page, asked[2] as string).waitFor({ timeout: 60_000 });
    await expect.poll(() => titles(page)).toEqual(['first in first asks', '2 new questions']);
    expect((await told(page)).sounds).toBe(2);

    await service.stop();
    await page.getByText('The service does not answer').waitFor({ timeout: 60_000 });
    await service.start();
    await page.getByText('The service does not answer').waitFor({ state: 'detached', timeout: 60_000 });
    const last = await service.ask({ run_id: 'last', agent_name: 'last' });
    await card(page, last).waitFor({ timeout: 60_000 });
    expect(await titles(page)).toEqual(['first in first asks', '2 new questions', 'last in last asks']);
    forgive(ana);
  });
});
