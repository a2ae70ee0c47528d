import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { Forumbus } from '../../src/client/index.ts';
import { openPerson, type Person } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { pageService } from '../helpers/page-service.ts';

const service = pageService({ MIN_DEFAULT_SECONDS: '1' });
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
  return () => browser.close();
});

const person = async (name: string, options = {}): Promise<Person> => {
  const made = await openPerson(browser, () => service.origin, options);
  await made.context.addInitScript(given => {
    try {
      localStorage.setItem('forumbus:name', JSON.stringify(given));
    } catch {
      // Other documents, such as about:blank, have none.
    }
  }, name);
  await made.page.goto(service.origin);
  await made.page.getByRole('heading', { name: 'Needs me' }).waitFor();
  return made;
};
const card = (page: Page, id: string) => page.locator(`#q-${id}`);
const question = async (id: string) => (await service.send('GET', `/questions/${id}`)).body;
/** What Chromium says about requests that a lost connection breaks off. */
const LOST = /net::ERR_(CONNECTION|INTERNET|NETWORK|EMPTY_RESPONSE|INCOMPLETE_CHUNKED)|status of 503/;
const forgive = ({ faults }: Person) => {
  const others = faults.filter(fault => !LOST.test(fault));
  faults.splice(0, faults.length, ...others);
};
const options = [{ label: 'Drop it', description: 'The migration goes on.' }, { label: 'Keep it' }];

describe('the story of a question', () => {
  it('goes from the agent to two people, and from the faster one back', async () => {
    const [ana, ben] = [await person('ana'), await person('ben')];
    const agent = new Forumbus({ url: service.origin, run_id: 'shop', agent_name: 'builder' });
    const asking = agent.ask({ question: 'May I drop the cart table?', context: 'Nothing reads `carts`.', options });
    const id = await ana.page.locator('[data-question]').first().getAttribute('data-question');
    await card(ben.page, id as string).waitFor();
    await expect.poll(() => ana.page.title()).toBe('(1) Forumbus');

    // One key answers the question that has the focus.
    await ben.page.keyboard.press('j');
    await ben.page.keyboard.press('r');
    await ben.page.keyboard.type('Ask the DBA');
    await ana.page.keyboard.press('j');
    await ana.page.keyboard.press('1');
    await ana.page.getByText('Answered “Drop it”').first().waitFor();
    expect((await question(id as string)).state).toBe('open');
    const outcome = await asking;
    expect(outcome).toMatchObject({
      answer: 'Drop it',
      answered_in: 'page',
      answered_by: { type: 'operator', name: 'ana' },
    });

    // In its place, the other person sees who was faster.
    const place = card(ben.page, id as string);
    await expect.poll(() => place.textContent()).toMatch(/“Drop it” by ana/);
    expect(await place.getByLabel('You had written').inputValue()).toBe('Ask the DBA');
    expect(await place.getByRole('button', { name: 'Send' }).count()).toBe(0);
    await expect.poll(() => ben.page.title()).toBe('Forumbus');
    await expect.poll(() => ana.page.getByText('acknowledged ✓').count()).toBeGreaterThan(0);
  });

  it('lets an answer be undone, and keeps words over a reload', async () => {
    const { page } = await person('ana');
    const id = await service.ask({ run_id: 'undo', options });
    await card(page, id).focus();
    await page.keyboard.press('2');
    await page.keyboard.press('z');
    await expect.poll(() => page.getByText('Answered “Keep it”').count()).toBe(0);
    await card(page, id).focus();
    await page.keyboard.press('r');
    await page.keyboard.type('Keep it until Monday');
    await page.reload();
    await expect.poll(() => card(page, id).locator('textarea').inputValue()).toBe('Keep it until Monday');
    await card(page, id).locator('textarea').press('Control+Enter');
    await expect
      .poll(() => question(id), { timeout: 8000 })
      .toMatchObject({ answer: 'Keep it until Monday', selected: [] });
  });

  it('sends what waits for its undo when the page is left', async () => {
    const { page, context } = await person('ana');
    const id = await service.ask({ run_id: 'leave', options });
    await card(page, id).getByRole('button', { name: 'Keep it' }).click();
    await page.goto('about:blank');
    await expect.poll(() => question(id), { timeout: 3000 }).toMatchObject({ state: 'answered', answer: 'Keep it' });
    await context.close();
  });

  it('takes several options, and one answer for several questions', async () => {
    const { page } = await person('ana');
    const many = await service.ask({ run_id: 'many', options, multi_select: true });
    const twins = await Promise.all(['a', 'b'].map(agent_name => service.ask({ run_id: 'many', agent_name, options })));
    await card(page, many).focus();
    for (const key of ['1', '2']) await page.keyboard.press(key);
    await card(page, many).getByRole('button', { name: 'Send' }).click();
    for (const id of twins) {
      await card(page, id).focus();
      await page.keyboard.press('x');
    }
    await page
      .getByRole('region', { name: 'Answer the selected questions' })
      .getByRole('button', { name: 'Keep it' })
      .click();
    await expect.poll(() => question(many), { timeout: 9000 }).toMatchObject({ selected: ['Drop it', 'Keep it'] });
    for (const id of twins)
      await expect.poll(() => question(id), { timeout: 9000 }).toMatchObject({ answer: 'Keep it' });
  });

  it('shows what is for somebody, for nobody, or for me, also after the answer', async () => {
    const { page } = await person('ana');
    const [forBen, forAna, free] = await Promise.all(
      ['a', 'b', 'c'].map(agent_name => service.ask({ run_id: 'shared', agent_name, options })),
    );
    const assign = async (id: string, assignee: string) =>
      service.send('PATCH', `/threads/${(await question(id)).thread_id}`, {
        ...{ assignee, actor: { type: 'operator', name: assignee } },
      });
    await assign(forBen as string, 'ben');
    await card(page, forAna as string).focus();
    await page.keyboard.press('a');
    const shown = async () =>
      Promise.all([forBen, forAna, free].map(id => card(page, id as string).isVisible())).then(all => all.map(Number));
    await expect.poll(shown).toEqual([1, 1, 1]);
    const select = page.getByLabel('Assignee');
    await select.selectOption('ben');
    await expect.poll(shown).toEqual([1, 0, 0]);
    await select.selectOption('nobody');
    await expect.poll(shown).toEqual([0, 0, 1]);
    await page.getByLabel('mine').check();
    await expect.poll(shown).toEqual([0, 1, 0]);
    await card(page, forAna as string).focus();
    await page.keyboard.press('1');
    await expect.poll(() => question(forAna as string), { timeout: 9000 }).toMatchObject({ answer: 'Drop it' });
    await page.getByRole('heading', { name: 'Waiting on agents' }).waitFor();
    expect(await page.locator('.row', { hasText: 'in shared' }).count()).toBe(1);
  });

  it('says when an answer came too late', async () => {
    const { page } = await person('ana');
    const id = await service.ask({ run_id: 'late', options });
    await card(page, id).focus();
    await page.keyboard.press('1');
    await service.send('PUT', `/questions/${id}/answer`, {
      selected: ['Keep it'],
      actor: { type: 'human', name: 'ben' },
    });
    await expect.poll(() => card(page, id).textContent()).toMatch(/“Keep it” by ben.*Your answer came later/s);
    expect(await question(id)).toMatchObject({ answer: 'Keep it' });
  });

  it('opens by its link', async () => {
    const id = await service.ask({ run_id: 'link', question: 'Which link?', context: 'A **bold** reason.' });
    const { page } = await openPerson(browser, () => service.origin);
    await page.goto(`${service.origin}/q/${id}`);
    await card(page, id).getByRole('heading', { name: 'Which link?' }).waitFor();
    expect(new URL(page.url()).pathname).toBe('/');
    await page.getByText('What happened').waitFor();
  });

  it('says what was applied when nobody answered, until a person has seen it', async () => {
    const { page } = await person('ana');
    const id = await service.ask({ run_id: 'gone', options, expires_in_seconds: 1, default_answer: 'Keep it' });
    await card(page, id).getByText('expires in').waitFor();
    await expect.poll(() => card(page, id).textContent()).toMatch(/Nobody answered.*“Keep it” was applied/s);
    const several = { options, multi_select: true, default_selected: ['Keep it', 'Drop it'] };
    const both = await service.ask({ run_id: 'gone', agent_name: 'other', ...several, expires_in_seconds: 1 });
    await expect.poll(() => card(page, both).textContent()).toMatch(/Nobody answered.*“Keep it, Drop it” was applied/s);
    await page.reload();
    await card(page, id).getByRole('button', { name: 'I have seen it' }).click();
    await expect.poll(() => card(page, id).count(), { timeout: 30_000 }).toBe(0);
  });
});

describe('a page that stays open', () => {
  it('goes on after a restart of the service, and says meanwhile that it is away', async () => {
    const ana = await person('ana');
    const before = await service.ask({ run_id: 'restart', question: 'Before?' });
    await card(ana.page, before).waitFor();
    await service.stop();
    await ana.page.getByText('The service does not answer').waitFor();
    await service.start();
    const after = await service.ask({ run_id: 'restart', agent_name: 'other', question: 'After?' });
    await card(ana.page, after).waitFor();
    await ana.page.getByText('The service does not answer').waitFor({ state: 'detached' });
    forgive(ana);
  });

  it('catches up with what happened while its connection was lost', async () => {
    const ana = await person('ana');
    const [first, second] = [
      await service.ask({ run_id: 'lost' }),
      await service.ask({ run_id: 'lost', agent_name: 'b' }),
    ];
    await card(ana.page, second).waitFor();
    await ana.context.setOffline(true);
    await service.send('PUT', `/questions/${first}/answer`, { answer: 'Yes.', actor: { type: 'human', name: 'ben' } });
    const third = await service.ask({ run_id: 'lost', agent_name: 'c' });
    // An answer that is given meanwhile stays until it can be sent.
    await card(ana.page, second).locator('textarea').fill('While offline');
    await card(ana.page, second).getByRole('button', { name: 'Send' }).click();
    await ana.page.getByText('The service does not answer').first().waitFor({ timeout: 60_000 });
    await ana.context.setOffline(false);
    await card(ana.page, third).waitFor({ timeout: 60_000 });
    await expect.poll(() => card(ana.page, first).textContent()).toContain('“Yes.” by ben');
    await expect.poll(() => question(second), { timeout: 20_000 }).toMatchObject({ answer: 'While offline' });
    forgive(ana);
  });
});
