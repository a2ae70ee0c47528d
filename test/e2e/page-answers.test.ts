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

const opened = async (hash = '', options = {}): Promise<Person> => {
  const person = await openPerson(browser, () => service.origin, options);
  await person.page.goto(`${service.origin}/${hash}`);
  await person.page.locator('main h1').first().waitFor({ state: 'attached' });
  return person;
};
const card = (page: Page, id: string) => page.locator(`#q-${id}`);
const field = (page: Page, id: string) => card(page, id).locator('textarea');
const press = (page: Page, id: string, name: string) => card(page, id).getByRole('button', { name }).click();
const question = async (id: string) => (await service.send('GET', `/questions/${id}`)).body;
const options = ['Yes', 'No'];
/** The undo takes five seconds. */
const slowly = { timeout: 15_000 };

describe('words', () => {
  it('go out alone, whatever option was pressed before and could not be sent', async () => {
    const { page, context, faults } = await opened();
    const id = await service.ask({ run_id: 'alone', options });
    await card(page, id).waitFor();
    await context.setOffline(true);
    await press(page, id, 'Yes');
    await page.getByText('Answered “Yes”').first().waitFor();
    const next = await context.newPage();
    await page.close();
    await context.setOffline(false);
    await next.goto(service.origin);
    await press(next, id, 'reply in words');
    expect(await card(next, id).getByRole('button', { name: 'Send' }).isEnabled()).toBe(false);
    await field(next, id).fill('No, wait until Monday');
    await field(next, id).press('Control+Enter');
    await expect.poll(() => question(id), slowly).toMatchObject({ answer: 'No, wait until Monday', selected: [] });
    faults.length = 0;
  });

  it('are there again after an option that was pressed by mistake', async () => {
    const { page } = await opened();
    const [one, other] = [
      await service.ask({ run_id: 'mistake', options }),
      await service.ask({ run_id: 'mistake', agent_name: 'other' }),
    ];
    await press(page, one, 'reply in words');
    await field(page, one).fill('A long text');
    await press(page, one, 'Yes');
    await page.keyboard.press('z');
    await expect.poll(() => field(page, one).inputValue()).toBe('A long text');
    // Words for several questions are kept where nothing else is written.
    for (const id of [one, other]) await card(page, id).getByRole('checkbox', { name: 'Select' }).check();
    await page.getByLabel('Answer all in words').fill('Words for both');
    await page.getByLabel('Answer all in words').press('Enter');
    await page.keyboard.press('z');
    await expect.poll(() => field(page, other).inputValue()).toBe('Words for both');
    expect(await field(page, one).inputValue()).toBe('A long text');
    for (const id of [one, other]) await service.send('POST', `/questions/${id}/cancel`, {});
  });
});
