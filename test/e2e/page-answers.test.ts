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

  it('stay in sight, and give no commands, when the question ends while they are written', async () => {
    const { page } = await opened();
    const [pressed, other] = [
      await service.ask({ run_id: 'ends', options }),
      await service.ask({ run_id: 'ends', agent_name: 'other', options }),
    ];
    await press(page, pressed, 'Yes');
    await press(page, other, 'reply in words');
    await page.keyboard.type('Size: 1');
    const answer = { answer: 'Done', actor: { type: 'operator', name: 'ben' } };
    await service.send('PUT', `/questions/${other}/answer`, answer);
    await card(page, other).getByText('by ben').waitFor();
    await page.keyboard.type('0 zebras');
    expect(await card(page, other).getByLabel('You had written').inputValue()).toBe('Size: 1');
    await expect.poll(() => question(pressed), slowly).toMatchObject({ answer: 'Yes' });
    await page.goto(`${service.origin}/#/q/${other}`);
    expect(await card(page, other).getByLabel('You had written').inputValue()).toBe('Size: 1');
  });

  it('give no commands when the field is gone with its question', async () => {
    const { page } = await opened();
    const [pressed, other] = [
      await service.ask({ run_id: 'gone', options }),
      await service.ask({ run_id: 'gone', agent_name: 'other' }),
    ];
    const { thread_id } = await question(other);
    await press(page, pressed, 'Yes');
    await page.goto(`${service.origin}/#/threads/${thread_id}`);
    await field(page, other).pressSequentially('Si');
    await service.send('PUT', `/questions/${other}/answer`, { answer: 'Done' });
    const writeOn = () => page.keyboard.type('ze').then(() => card(page, other).count());
    await expect.poll(writeOn).toBe(0);
    await writeOn();
    await expect.poll(() => question(pressed), slowly).toMatchObject({ answer: 'Yes' });
  });

  it('are forgotten a month after they were written', async () => {
    const { page } = await opened();
    const id = await service.ask({ run_id: 'month' });
    await field(page, id).fill('For long');
    await page.reload();
    await field(page, id).waitFor();
    const drafts = () =>
      page.evaluate(() => Object.keys(localStorage).filter(key => key.startsWith('forumbus:draft:')));
    expect((await drafts()).filter(key => key.endsWith(id))).toHaveLength(1);
    await page.clock.setSystemTime(Date.now() + 31 * 86_400_000);
    await page.reload();
    await expect.poll(drafts).toEqual([]);
  });
});

it('a page that is left has sent all answers: those that would be too large together do not wait', async () => {
  const { page } = await opened();
  const asked: string[] = [];
  for (let number = 0; number < 8; number += 1)
    asked.push(await service.ask({ run_id: 'large', agent_name: `a-${number}` }));
  for (const id of asked) await card(page, id).getByRole('checkbox', { name: 'Select' }).check();
  await page.getByLabel('Answer all in words').fill('x'.repeat(12_000));
  await page.getByLabel('Answer all in words').press('Enter');
  const answered = async () =>
    (await Promise.all(asked.map(question))).filter(({ state }) => state === 'answered').length;
  await expect.poll(answered).toBe(4);
  await page.goto('about:blank');
  await expect.poll(answered).toBe(8);
  await page.goto(`${service.origin}/#/q/${asked[0]}`);
  await card(page, asked[0] as string).waitFor();
  expect(await page.getByLabel('You had written').count()).toBe(0);
});

it('an answer in the last seconds of a question arrives before it expires', async () => {
  const { page } = await opened();
  const id = await service.ask({ run_id: 'last', options, expires_in_seconds: 5 });
  await press(page, id, 'Yes');
  await expect.poll(async () => (await question(id)).state, slowly).not.toBe('open');
  expect(await question(id)).toMatchObject({ state: 'answered', answer: 'Yes' });
});

it('an answer is shown in its place to others who have the same name', async () => {
  const [{ page }, other] = [await opened(), await opened()];
  const id = await service.ask({ run_id: 'namesakes', options });
  await card(other.page, id).waitFor();
  await press(page, id, 'No');
  await card(other.page, id).getByText('“No”').waitFor();
  expect(await card(other.page, id).textContent()).toContain('“No” by operator');
  await expect.poll(() => card(page, id).count()).toBe(0);
});

it('words to an agent stay over a reload, until they are sent', async () => {
  const { thread_id } = await question(await service.ask({ run_id: 'told', options }));
  const { page } = await opened(`#/threads/${thread_id}`);
  const words = page.getByLabel('Say something to the agent');
  await words.fill('A long message');
  await page.reload();
  await expect.poll(() => words.inputValue()).toBe('A long message');
  await words.press('Control+Enter');
  await page.locator('.post', { hasText: 'A long message' }).waitFor();
  await page.reload();
  expect(await words.inputValue()).toBe('');
});
