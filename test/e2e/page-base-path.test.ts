import type { Browser } from 'playwright-core';
import { beforeAll, expect, it } from 'vitest';
import { openPerson } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { pageService } from '../helpers/page-service.ts';
import { signal } from '../helpers/signals.ts';

const service = pageService({ BASE_PATH: '/team/forum' });
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
  return () => browser.close();
});

it('the page and the API document work below the path of the service, and load nothing above it', async () => {
  const root = `${service.origin}/team/forum`;
  const asked = { ...signal('guidance_request'), question: 'Below a path?', options: ['Yes', 'No'] };
  const { body } = await service.send('POST', '/team/forum/control-signals', asked);
  const id = body.question.question_id as string;
  // Requests to anywhere above the root are faults.
  const { page } = await openPerson(browser, root);
  await page.goto(`${root}/q/${id}`);
  await page.locator(`#q-${id}`).getByRole('heading', { name: 'Below a path?' }).waitFor();
  expect(page.url()).toBe(`${root}/#/q/${id}`);
  await page.keyboard.press('1');
  const state = async () => (await service.send('GET', `/team/forum/questions/${id}`)).body.answer;
  await expect.poll(state).toBe('Yes');
  await page.getByRole('button', { name: 'Settings and keys' }).click();
  const opening = page.context().waitForEvent('page');
  await page.getByRole('link', { name: 'API' }).click();
  const docs = await opening;
  await docs.locator('.opblock-tag').first().waitFor();
  expect(docs.url()).toBe(`${root}/docs/`);
});
