import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { openPerson } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { pageService } from '../helpers/page-service.ts';
import { signal } from '../helpers/signals.ts';
import { type Tokens, withTokens } from '../helpers/tokens.ts';

const service = pageService();
let browser: Browser;
let tokens: Tokens;
beforeAll(async () => {
  browser = await openBrowser();
  tokens = await withTokens({
    url: service.url,
    send: (...[method, path, body, headers]) => service.send(method, path, body, headers),
  });
  return () => browser.close();
});

/** A browser that is logged in by a token of its own. */
async function logIn(name: string): Promise<Page> {
  const { token } = await tokens.issue({ role: 'operator', actor: { type: 'operator', name } });
  const person = await openPerson(browser, () => service.origin);
  await person.page.goto(service.origin);
  await person.page.getByLabel('Or paste a token').fill(token);
  await person.page.getByRole('button', { name: 'Log in' }).click();
  await person.page.getByText(`live · ${name}`).waitFor();
  // That it was not logged in is no fault of the page.
  person.faults.splice(0, person.faults.length, ...person.faults.filter(fault => !/status of 401/.test(fault)));
  return person.page;
}

const ask = async (fields: object) => {
  const asked = await tokens.admin('POST', '/control-signals', { ...signal('guidance_request'), ...fields });
  return asked.body.question.question_id as string;
};
const question = async (id: string) => (await tokens.admin('GET', `/questions/${id}`)).body;
const people = (page: Page, id: string) => page.locator(`#q-${id} .people`);
/** The undo takes five seconds. */
const slowly = { timeout: 15_000 };

describe('a question that two people must answer', () => {
  it('shows each of them what the other one has answered, and ends by the same answer of the second', async () => {
    const [ana, ben] = [await logIn('ana'), await logIn('ben')];
    const id = await ask({ run_id: 'both', question: 'Delete it?', options: ['Yes', 'No'], approvals: 2 });
    for (const page of [ana, ben]) {
      await expect
        .poll(() => people(page, id).textContent())
        .toContain('0 of 2: two people must give the same answer.');
    }
    await ana.locator(`#q-${id}`).getByRole('button', { name: 'Yes' }).click();
    await expect
      .poll(() => people(ana, id).textContent(), slowly)
      .toContain('1 of 2: you answered “Yes”. It waits for another person.');
    await expect
      .poll(() => people(ben, id).textContent())
      .toContain('1 of 2: ana answered “Yes”. It waits for the same answer of a second person.');
    expect(await question(id)).toMatchObject({ state: 'open', approvals: [{ answered_in: 'page' }] });
    // The first one may press again, to no effect; the second one presses the same.
    await ana.locator(`#q-${id}`).getByRole('button', { name: 'Yes' }).click();
    await ben.locator(`#q-${id}`).getByRole('button', { name: 'Yes' }).click();
    await expect.poll(() => ana.locator(`#q-${id}`).textContent(), slowly).toMatch(/“Yes” by ana and ben/);
    await expect.poll(() => ben.locator(`#q-${id}`).count()).toBe(0);
    expect(await question(id)).toMatchObject({ state: 'answered', answered_by: { name: 'ben' }, version: 3 });
  });

  it('takes two who press within the time of an undo, and lets one give words that the other one wrote', async () => {
    const [cleo, dora] = [await logIn('cleo'), await logIn('dora')];
    const both = await ask({ run_id: 'at-once', options: ['Yes', 'No'], approvals: 2 });
    for (const page of [cleo, dora]) await page.locator(`#q-${both}`).getByRole('button', { name: 'No' }).click();
    await expect.poll(async () => (await question(both)).state, slowly).toBe('answered');

    const words = await ask({ run_id: 'words', agent_name: 'writer', approvals: 2 });
    const text = ' Only on\n staging. ';
    const ana = tokens.as((await tokens.issue({ role: 'operator', actor: { type: 'human', name: 'ana' } })).token);
    expect((await ana('PUT', `/questions/${words}/answer`, { answer: text })).status).toBe(200);
    await cleo.locator(`#q-${words}`).getByRole('button', { name: 'Answer “ Only on' }).click();
    await expect.poll(async () => (await question(words)).state, slowly).toBe('answered');
    expect(await question(words)).toMatchObject({ answered_by: { name: 'cleo' }, answer: text.trim() });
  });
});
