import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { verifyWebhook } from '../../src/client/index.ts';
import { formats } from '../../src/webhooks/schemas.ts';
import { openPerson } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { pageService } from '../helpers/page-service.ts';
import { startReceiver, toLoopback } from '../helpers/receiver.ts';

const service = pageService({ ...toLoopback, PUBLIC_URL: 'https://forumbus.example.com' });
const soon = { timeout: 120_000, interval: 20 };
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
  return () => browser.close();
});

const opened = async (hash: string) => {
  const { page, faults } = await openPerson(browser, () => service.origin);
  await page.goto(`${service.origin}/${hash}`);
  await page.locator('main h1').waitFor();
  return { page, faults };
};
const webhook = async (name: string) => (await service.send('GET', `/webhooks/${name}`)).body;
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
/** A button that asks again before it acts. */
const sure = async (page: Page, name: string, question: string) => {
  await button(page, name).click();
  await button(page, question).click();
};
const create = async (name: string, url: string, fields = {}) => {
  const wanted = { name, url, event_types: ['forum.question.*'], ...fields };
  expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
};

describe('webhooks', () => {
  it('are added, tried, followed, and deleted', async () => {
    const receiver = await startReceiver();
    const { page } = await opened('#/deliveries');
    await page.getByRole('link', { name: 'Webhooks' }).click();
    await page.getByText('Nobody is told yet').waitFor();
    await button(page, 'Add a webhook').click();
    await page.getByLabel('Name').fill('chat');
    await page.getByLabel('URL of the program').fill(receiver.url);
    await page.getByRole('textbox', { name: 'Events' }).fill('forum.question.*, forum.thread.opened');
    await page.getByLabel('Run', { exact: true }).fill('told');
    await page.getByLabel('Priority').selectOption('high');
    await button(page, 'Add').click();
    const secret = (await page.locator('code.secret').textContent()) as string;
    expect(await webhook('chat')).toMatchObject({
      event_types: ['forum.question.*', 'forum.thread.opened'],
      filter: { run_id: 'told', priority_at_least: 'high' },
      answer_links: false,
      format: 'standard',
    });

    await page.locator('.rows').getByRole('link', { name: 'chat' }).click();
    await page.getByText('Nothing yet.').waitFor();
    expect(await page.locator('code.secret').count()).toBe(0);
    await button(page, 'Send a test').click();
    await page.getByText(/Arrived: status 204, \d+ ms/).waitFor();
    const [ping] = receiver.received;
    await verifyWebhook(ping?.headers ?? {}, ping?.body ?? '', secret);

    await service.ask({ run_id: 'told', priority: 'high' });
    const row = page.locator('.row', { hasText: 'forum.question.opened' });
    await row.getByText('sent').waitFor();
    await row.getByRole('button', { name: '1 attempt' }).click();
    await row.getByText(/ms, status 204/).waitFor();
    await row.getByRole('button', { name: 'send again' }).click();
    await expect.poll(() => receiver.received.length, soon).toBe(3);

    await page.getByLabel('The old one signs on').selectOption('no longer');
    await sure(page, 'Rotate the secret', 'Make another secret?');
    const next = (await page.locator('code.secret').textContent()) as string;
    await button(page, 'Send a test').click();
    await expect.poll(() => receiver.received.length, soon).toBe(4);
    const last = receiver.received[3];
    await verifyWebhook(last?.headers ?? {}, last?.body ?? '', next);
    await expect(verifyWebhook(last?.headers ?? {}, last?.body ?? '', secret)).rejects.toThrow();

    await sure(page, 'Delete', 'Delete it for good?');
    await page.getByText('Nobody is told yet').waitFor();
    expect((await service.send('GET', '/webhooks')).body.items).toEqual([]);
  });

  it('show why nothing arrives, and send what was missed', async () => {
    const receiver = await startReceiver(response => response.writeHead(503).end('no <b>disk</b> left'));
    await create('failing', receiver.url);
    const { page } = await opened('#/webhooks/failing');
    for (let number = 0; number < 5; number += 1) await service.ask({ run_id: 'failing', agent_name: `a${number}` });
    await page.getByText(/circuit open, next try/).waitFor();
    const rows = page.locator('.row', { hasText: 'failed' });
    await rows
      .first()
      .getByRole('button', { name: /attempt/ })
      .click();
    await rows.first().getByText('no <b>disk</b> left').waitFor();
    await button(page, 'Send a test').click();
    await page.getByText(/Failed: status 503/).waitFor();
    await page.goto(`${service.origin}/#/webhooks`);
    await page.locator('.row', { hasText: 'failing' }).getByText('5 waiting').waitFor();

    await page.getByRole('link', { name: 'failing' }).click();
    await sure(page, 'Disable', 'Stop, and discard what waits?');
    await button(page, 'Enable').waitFor();
    expect(await page.getByText('Missed since').count()).toBe(0);
    receiver.answer = response => response.writeHead(204).end();
    await button(page, 'Enable').click();
    const count = receiver.received.length;
    await page.getByLabel('Missed since').fill('2020-01-01T00:00');
    await button(page, 'Send what was missed').click();
    await expect.poll(() => receiver.received.length, soon).toBeGreaterThan(count + 4);
    await expect.poll(async () => (await webhook('failing')).failures, soon).toBe(0);

    // The service has disabled it itself.
    receiver.answer = response => response.writeHead(410).end();
    await service.ask({ run_id: 'failing', agent_name: 'last' });
    await page.getByText('the endpoint answered that it is gone (410)').waitFor();
  });

  it('have a form of their own for each format', async () => {
    const { page, faults } = await opened('#/webhooks');
    await button(page, 'Add a webhook').click();
    const select = page.getByLabel('Format');
    const offered = await select.locator('option').evaluateAll(all => all.map(one => (one as HTMLOptionElement).value));
    // A browser adds itself.
    expect(offered.toSorted()).toEqual(formats.filter(format => format !== 'webpush').toSorted());
    await select.selectOption('ntfy');
    await page.getByLabel('Name').fill('phone');
    expect(await page.getByLabel('Server').inputValue()).toBe('https://ntfy.sh/');
    await button(page, 'Add').click();
    expect((await service.send('GET', '/webhooks/phone')).status).toBe(404);
    await page.getByLabel('Topic', { exact: true }).fill('forum-5f2c');
    await page.getByLabel('Access token').fill('tk_1');
    await page.getByLabel('Server').fill('http://10.0.0.1/');
    await page.getByLabel('Whoever gets the message may answer').check();
    await button(page, 'Add').click();
    // What was typed stays after a refusal.
    await page.getByRole('alert').getByText('must be').waitFor();
    expect(await page.getByLabel('Server').inputValue()).toBe('http://10.0.0.1/');
    await page.getByLabel('Server').fill('https://ntfy.example.com/');
    await button(page, 'Add').click();
    await page.getByText('phone is set up').waitFor();
    expect(await page.locator('code.secret').count()).toBe(0);
    expect(await webhook('phone')).toMatchObject({ format: 'ntfy', answer_links: true });
    expect(faults.splice(0)).toEqual([expect.stringMatching(/status of 400/)]);
  });
});
