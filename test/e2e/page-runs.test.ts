import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { openPerson } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { pageService } from '../helpers/page-service.ts';
import { signal } from '../helpers/signals.ts';

const service = pageService();
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
  return () => browser.close();
});

const openedBy = async (hash: string) => {
  const person = await openPerson(browser, () => service.origin);
  await person.page.goto(`${service.origin}/${hash}`);
  return person;
};
const opened = async (hash: string): Promise<Page> => (await openedBy(hash)).page;
const send = (type: string, fields: object) => service.send('POST', '/control-signals', signal(type, fields));
/** A button that asks again before it acts. */
const sure = async (page: Page, name: string, question: string) => {
  await page.getByRole('button', { name }).click();
  await page.getByRole('button', { name: question }).click();
};

describe('a run', () => {
  it('gets a brief, says what it lacks, and is closed as it was seen', async () => {
    const { page, faults } = await openedBy('#/runs/release');
    await page.getByLabel('Title').fill('Release 2');
    await page.getByLabel('Done when').fill('Tests are green.');
    await page.getByLabel('Agents that must take part').fill('builder');
    await page.getByRole('button', { name: 'File the brief' }).click();
    await page.getByText('builder has sent no signal yet.').waitFor();
    expect(await page.getByRole('button', { name: 'Close run' }).isDisabled()).toBe(true);

    for (const type of ['completion', 'validation']) await send(type, { run_id: 'release' });
    await page.getByText('Nothing is missing').waitFor();
    // Somebody changes the run between the look and the click.
    await page.route('**/runs/release', () => {});
    await page.getByRole('button', { name: 'Close run' }).click();
    await service.send('PUT', '/runs/release', {
      title: 'Release 3',
      done_criteria: 'Tests are green.',
      agents: ['builder'],
    });
    await page.getByRole('button', { name: 'Close it for good?' }).click();
    await page.getByText('The run has changed meanwhile').waitFor();
    // Chromium reports every refusal: there was no such run, and later another version of it.
    expect(faults.splice(0).filter(fault => !/status of 4(04|12)/.test(fault))).toEqual([]);
    await page.unroute('**/runs/release');
    await page.reload();
    await sure(page, 'Close run', 'Close it for good?');
    await page.getByText('The run is closed.').waitFor();
    await page.getByText('closed the run').waitFor();
    expect((await service.send('GET', '/runs/release')).body.status).toBe('closed');
  });

  it('says in words, agent by agent, what it lacks', async () => {
    const asked = await service.ask({ run_id: 'gate', agent_name: 'asker' });
    await service.ask({ run_id: 'gate', agent_name: 'asker' });
    await send('completion', { run_id: 'gate', agent_name: 'failing' });
    await send('validation', { run_id: 'gate', agent_name: 'failing', status: 'failed' });
    await send('completion', { run_id: 'gate', agent_name: 'other' });
    await send('validation', { run_id: 'gate', agent_name: 'other' });
    await service.send('PUT', '/runs/gate', { done_criteria: 'It is fast.', agents: ['absent'] });
    const lacks = [
      'absent has sent no signal yet.',
      'asker has an open question, another one, has not reported completion, has not been validated.',
      'failing failed its validation.',
      'other was validated against other criteria than those of the brief.',
    ];
    const page = await opened('#/runs/gate');
    await expect.poll(() => page.locator('.gate li').allTextContents()).toEqual(lacks);
    await page.getByText('4 agents are not done').waitFor();
    await page.getByRole('link', { name: 'Runs' }).first().click();
    const row = page.locator('.row', { hasText: 'gate' });
    await expect
      .poll(() => row.locator('.gate li').allTextContents())
      .toEqual([...lacks.slice(0, 3), 'and 1 more agent']);
    await row.getByRole('link', { name: 'open question' }).click();
    await page.locator(`#q-${asked}`).waitFor();
  });

  it('has agents that can be told something, begin again, and be withdrawn', async () => {
    await send('completion', { run_id: 'talk', summary: 'It works.' });
    const page = await opened('#/runs/talk');
    await page.getByRole('button', { name: 'say something' }).click();
    await page.getByLabel('To builder').fill('Please add a test.');
    await page.getByLabel('To builder').press('Control+Enter');
    const inbox = async () => (await service.send('GET', '/control-threads/talk/builder/inbox')).body.items;
    await expect.poll(inbox).toMatchObject([{ kind: 'message', post: { body: 'Please add a test.' } }]);
    await sure(page, 'next attempt', 'Begin the next attempt?');
    await page.getByText('attempt 2').first().waitFor();
    await sure(page, 'withdraw', 'Take it out of the run?');
    await page.getByText('withdrawn', { exact: true }).waitFor();
  });
});

it('a thread takes a reply with a state, a priority and an assignee', async () => {
  const page = await opened('#/threads');
  await page.getByRole('button', { name: 'New thread' }).click();
  await page.getByLabel('Title', { exact: true }).fill('Which region?');
  await page.getByLabel('Text', { exact: true }).fill('There are **two**.');
  await page.getByRole('button', { name: 'Open the thread' }).click();
  await page.locator('.posts strong', { hasText: 'two' }).waitFor();
  await page.getByLabel('Reply').fill('Europe.');
  await page.getByLabel('and set the state to').selectOption('answered');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByText('Europe.').waitFor();
  await page.getByLabel('For', { exact: true }).fill('ben');
  await page.getByRole('button', { name: 'Assign' }).click();
  await page.getByLabel('Priority').selectOption('high');
  const [thread] = (await service.send('GET', '/threads?q=region')).body.items;
  await expect
    .poll(async () => (await service.send('GET', `/threads/${thread.thread_id}`)).body)
    .toMatchObject({ state: 'answered', assignee: 'ben', priority: 'high' });
});

it('words that are being typed stay while questions come', async () => {
  const page = await opened('#/history');
  const words = page.getByLabel('Words');
  await words.fill('half a wo');
  await service.ask({ run_id: 'typing', question: 'Is this new?' });
  await page.getByRole('link', { name: 'Is this new?' }).waitFor();
  expect(await words.inputValue()).toBe('half a wo');
});

it('a topic can be paused and resumed', async () => {
  const page = await opened('#/deliveries');
  await page.getByLabel('Topic to pause').fill('forum.integration.chat');
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Resume' }).waitFor();
  expect((await service.send('GET', '/bus/topics')).body.paused).toEqual(['forum.integration.chat']);
  await page.getByRole('button', { name: 'Resume' }).click();
  await expect.poll(async () => (await service.send('GET', '/bus/topics')).body.paused).toEqual([]);
});
