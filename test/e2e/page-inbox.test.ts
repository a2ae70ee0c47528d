import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { openPerson } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { pageService } from '../helpers/page-service.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

const service = pageService({ MIN_DEFAULT_SECONDS: '1', RATE_LIMIT_PER_MINUTE: '0' });
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
  return () => browser.close();
});

const opened = async (hash = '', options = {}): Promise<Page> => {
  const { page } = await openPerson(browser, () => service.origin, options);
  await page.goto(`${service.origin}/${hash}`);
  await page.locator('main h1').first().waitFor({ state: 'attached' });
  return page;
};
const card = (page: Page, id: string) => page.locator(`#q-${id}`);
const question = async (id: string) => (await service.send('GET', `/questions/${id}`)).body;
const options = ['Yes', 'No'];
const send = async (type: string, fields: object) => {
  const { status } = await service.send('POST', '/control-signals', signal(type, fields));
  expect(status).toBe(201);
};
/** Closes a run by the work of its agent `done`. */
const close = async (run_id: string) => {
  for (const type of ['completion', 'validation']) await send(type, { run_id, agent_name: 'done' });
  expect((await service.send('POST', `/runs/${run_id}/close`, {})).status).toBe(200);
};
/** The undo takes five seconds. */
const slowly = { timeout: 15_000 };

describe('the inbox', () => {
  it('undoes the answers of a batch together', async () => {
    const page = await opened();
    const asked = await Promise.all(
      ['a', 'b', 'c'].map(agent_name => service.ask({ run_id: 'batch', agent_name, options })),
    );
    for (const id of asked) await card(page, id).getByRole('checkbox', { name: 'Select' }).check();
    const batch = page.getByRole('region', { name: 'Answer the selected questions' });
    await batch.getByRole('button', { name: 'Yes' }).click();
    await page.getByText('Answered 3 questions “Yes”').waitFor();
    await page.keyboard.press('z');
    await expect.poll(() => page.getByText('Answered').count()).toBe(0);
    // One alone is undone alone.
    for (const id of asked) await card(page, id).getByRole('button', { name: 'No' }).click();
    await page.getByRole('status').getByText('Answered “No”').waitFor();
    await page.keyboard.press('z');
    const states = async () => (await Promise.all(asked.map(question))).map(({ answer }) => answer);
    await expect.poll(states, slowly).toEqual(['No', 'No', null]);
  });

  it('puts off questions in two tabs, and both know both', async () => {
    const page = await opened();
    const other = await page.context().newPage();
    await other.goto(service.origin);
    const asked: string[] = [];
    for (const agent_name of ['one', 'two']) asked.push(await service.ask({ run_id: 'twice', agent_name, options }));
    for (const [index, tab] of [page, other].entries())
      await card(tab, asked[index] as string)
        .getByRole('button', { name: 'in an hour' })
        .click();
    for (const id of asked) for (const tab of [page, other]) await card(tab, id).waitFor({ state: 'detached' });
    await page.reload();
    await page.getByRole('heading', { name: 'Later' }).waitFor();
    for (const id of asked) {
      expect(await card(page, id).count()).toBe(0);
      await service.send('POST', `/questions/${id}/cancel`, {});
    }
  });

  it('takes a key that is held down once, except to move', async () => {
    const page = await opened();
    const asked: string[] = [];
    for (const agent_name of ['a', 'b', 'c', 'd'])
      asked.push(await service.ask({ run_id: 'held', agent_name, priority: 'urgent', options }));
    for (const id of asked) await card(page, id).waitFor();
    const hold = async (key: string) => {
      for (let time = 0; time < 3; time += 1) await page.keyboard.down(key);
      await page.keyboard.up(key);
    };
    const answered = () => page.locator('article .notice', { hasText: 'Answered' }).count();
    await card(page, asked[0] as string).focus();
    await hold('1');
    await page.getByRole('status').getByText('Answered “Yes”').waitFor();
    expect(await answered()).toBe(1);
    await page.keyboard.press('z');
    await card(page, asked[0] as string).focus();
    await hold('j');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe(`q-${asked[3]}`);
    for (const id of asked) await service.send('POST', `/questions/${id}/cancel`, {});
  });

  it('puts a question off, and brings it back', async () => {
    const page = await opened();
    const id = await service.ask({ run_id: 'later', question: 'Which colour?', options });
    await card(page, id).focus();
    await page.keyboard.press('h');
    const row = page.locator('.row', { hasText: 'Which colour?' });
    await page.getByRole('heading', { name: 'Later' }).waitFor();
    expect(await card(page, id).count()).toBe(0);
    await page.reload();
    await row.getByRole('button', { name: 'bring back' }).click();
    await card(page, id).waitFor();
  });

  it('is narrowed to a run or a ticket, and so is the search', async () => {
    await service.send('PUT', '/runs/red', { ticket: 'RED-1' });
    const [red, blue] = await Promise.all(
      ['red', 'blue'].map(run_id => service.ask({ run_id, question: `Which paint for ${run_id}?` })),
    );
    const page = await opened();
    const shown = () => Promise.all([red, blue].map(id => card(page, id as string).isVisible()));
    await expect.poll(shown).toEqual([true, true]);
    await page.getByLabel('Run', { exact: true }).selectOption('blue');
    await expect.poll(shown).toEqual([false, true]);
    await page.getByLabel('Run', { exact: true }).selectOption('');
    await page.getByLabel('Ticket').fill('RED-1');
    await page.getByLabel('Ticket').press('Tab');
    await expect.poll(shown).toEqual([true, false]);
    // The ticket of a signal counts as that of a brief does.
    const own = await service.ask({ run_id: 'green', ticket: 'RED-1', question: 'Which brush?' });
    await card(page, own).waitFor();
    const next = await service.ask({ run_id: 'red', agent_name: 'other', question: 'Which tape?' });
    await card(page, next).waitFor();
    await page.reload();
    await page.getByLabel('Ticket').fill('RED-1');
    await page.getByLabel('Ticket').press('Tab');
    await expect.poll(() => page.locator('[data-question]').count()).toBe(3);
    await page.getByLabel('Search all questions').fill('paint');
    await page.getByLabel('Search all questions').press('Enter');
    await page.getByRole('heading', { name: 'All questions' }).waitFor();
    await expect.poll(() => page.locator('.row .t').allTextContents()).toEqual(['Which paint for red?']);
    await page.getByLabel('Ticket').fill('');
    await page.getByLabel('Run', { exact: true }).fill('blue');
    await page.getByRole('button', { name: 'Search' }).click();
    await expect.poll(() => page.locator('.row .t').allTextContents()).toEqual(['Which paint for blue?']);
  });

  it('keeps what events have said while its lists were read', async () => {
    const ended = await service.ask({ run_id: 'slow', agent_name: 'first', options });
    const page = await opened();
    await card(page, ended).waitFor();
    let goOn = () => {};
    const isHeld = new Promise<void>(held => {
      void page.route(/unacknowledged=true/, async route => {
        held();
        await new Promise<void>(resolve => (goOn = resolve));
        await route.continue();
      });
    });
    const openRead = page.waitForResponse(/questions\?.*state=open/);
    await page.getByLabel('Run', { exact: true }).selectOption('slow');
    await Promise.all([isHeld, openRead]);
    const asked = await service.ask({ run_id: 'slow', agent_name: 'second' });
    await service.send('PUT', `/questions/${ended}/answer`, { answer: 'Yes' });
    await card(page, asked).waitFor();
    await card(page, ended).getByText('not delivered').waitFor();
    const allRead = page.waitForResponse(/unacknowledged=true/);
    goOn();
    await allRead;
    // The next change comes after the lists.
    const last = await service.ask({ run_id: 'slow', agent_name: 'third' });
    await card(page, last).waitFor();
    expect(await card(page, asked).count()).toBe(1);
    await card(page, ended).getByText('not delivered').waitFor();
    await service.send('POST', `/questions/${asked}/cancel`, {});
  });

  it('shows all runs again when the one that it was narrowed to is closed', async () => {
    const waiting = await service.ask({ run_id: 'long', priority: 'urgent' });
    const own = await service.ask({ run_id: 'short', agent_name: 'done' });
    const page = await opened();
    await page.getByLabel('Run', { exact: true }).selectOption('short');
    await expect.poll(() => card(page, waiting).count()).toBe(0);
    await card(page, own).waitFor();
    await service.send('PUT', `/questions/${own}/answer`, { answer: 'Yes.' });
    await close('short');
    await card(page, waiting).waitFor();
    expect(await page.getByLabel('Run', { exact: true }).inputValue()).toBe('');
    await service.send('POST', `/questions/${waiting}/cancel`, {});
  });

  it('has those that expired unseen at its end, until a key says that they were seen', async () => {
    const gone = await service.ask({
      run_id: 'over',
      priority: 'urgent',
      expires_in_seconds: 1,
      default_answer: 'Yes',
    });
    await expect.poll(async () => (await question(gone)).state).toBe('expired');
    const page = await opened();
    const open = await service.ask({ run_id: 'over', agent_name: 'other', priority: 'low' });
    await card(page, open).waitFor();
    const ids = () => page.locator('[data-question]').evaluateAll(all => all.map(one => one.id));
    expect((await ids()).slice(-2)).toEqual([`q-${open}`, `q-${gone}`]);
    await card(page, gone).focus();
    await page.keyboard.press('e');
    await expect.poll(() => card(page, gone).count()).toBe(0);
  });

  it('folds a long context where its code ends', async () => {
    const context = `Tried:\n\n\`\`\`ts\none();\ntwo();\nthree();\nfour();\n\`\`\`\n\n${'And so on. '.repeat(80)}`;
    const id = await service.ask({ run_id: 'code', context });
    const page = await opened();
    await card(page, id).locator('pre', { hasText: 'four();' }).waitFor();
    expect(await card(page, id).textContent()).not.toContain('```');
    expect(await card(page, id).textContent()).not.toContain('And so on');
    await card(page, id)
      .getByRole('button', { name: /^Show all/ })
      .click();
    await card(page, id).getByText('And so on').waitFor();
  });
});

it('the thread of an agent takes the answer to what it has asked', async () => {
  const id = await service.ask({ run_id: 'talk', question: 'Which region?', options: ['Europe', 'Asia'] });
  const page = await opened('#/agents');
  await page.locator('.row', { hasText: 'in talk' }).getByRole('link', { name: '1 open question' }).click();
  await card(page, id).getByRole('button', { name: 'Europe' }).click();
  await page.locator('.post', { hasText: 'Europe' }).waitFor(slowly);
  expect(await question(id)).toMatchObject({ state: 'answered', answer: 'Europe' });
  await expect.poll(() => card(page, id).count()).toBe(0);
});

it('a long thread shows its latest posts, and earlier ones on request', async () => {
  const actor = { type: 'operator', name: 'ana' };
  const { thread_id } = (await service.send('POST', '/threads', { title: 'Long', body: 'The very first.', actor }))
    .body;
  for (let number = 1; number <= 110; number += 1)
    await service.send('POST', `/threads/${thread_id}/posts`, { body: `Number ${number}.`, actor });
  const page = await opened(`#/threads/${thread_id}`);
  await page.getByText('Number 110.').waitFor();
  expect(await page.locator('.post').last().textContent()).toContain('Number 110.');
  expect(await page.getByText('The very first.').count()).toBe(0);
  await page.getByRole('button', { name: 'Show earlier posts' }).click();
  await page.getByText('The very first.').waitFor();
  expect(await page.locator('.post').count()).toBe(111);
});

it('many tabs stay live on one stream, which the next one takes over', async () => {
  const { context, page } = await openPerson(browser, () => service.origin);
  const streams: string[] = [];
  context.on('request', request => request.url().includes('/events/stream') && streams.push(request.url()));
  // A browser has six connections to a host.
  const tabs = [page];
  while (tabs.length < 8) tabs.push(await context.newPage());
  for (const tab of tabs) {
    await tab.goto(service.origin);
    await tab.getByRole('heading', { name: 'Needs me' }).waitFor();
  }
  const seen = async () => {
    const id = await service.ask({ run_id: 'tabs', agent_name: `tab-${streams.length}`, options });
    await Promise.all(tabs.map(tab => card(tab, id).waitFor()));
    return id;
  };
  await seen();
  expect(streams.length).toBe(1);
  await tabs.shift()?.close();
  const id = await seen();
  await expect.poll(() => streams.length).toBe(2);
  await card(tabs[6] as Page, id)
    .getByRole('button', { name: 'Yes' })
    .click();
  await expect.poll(async () => (await question(id)).state, slowly).toBe('answered');
  await service.stop();
  for (const tab of tabs) await tab.getByText('The service does not answer.').waitFor();
  await service.start();
  for (const tab of tabs) await tab.getByText('live').first().waitFor();
  await seen();
});

describe('after months', () => {
  it('answers that no agent has taken do not hide what stands below them', async () => {
    for (let number = 0; number < 12; number += 1) {
      const id = await service.ask({ run_id: 'left', agent_name: `gone-${number}` });
      await service.send('PUT', `/questions/${id}/answer`, { answer: 'Yes.' });
    }
    const page = await opened();
    const rows = page.locator('.row', { hasText: 'not delivered' });
    await expect.poll(() => rows.count()).toBe(8);
    await page.getByRole('button', { name: /^Show all \d+$/ }).click();
    await expect.poll(() => rows.count()).toBeGreaterThanOrEqual(12);
  });

  it('runs that go on are shown whatever was closed since, and agents of closed runs are not', async () => {
    await service.ask({ run_id: 'ancient', agent_name: 'elder' });
    for (let index = 0; index < 210; index += 30)
      await Promise.all(Array.from({ length: 30 }, (_, number) => close(`closed-${index + number}`)));
    const page = await opened('#/runs');
    await page.getByRole('link', { name: 'ancient' }).waitFor();
    expect(await page.getByRole('link', { name: 'closed-7' }).count()).toBe(0);
    await page.getByRole('link', { name: 'Show closed runs' }).click();
    await page.getByRole('link', { name: 'closed-209' }).waitFor();
    await page.getByRole('link', { name: 'Agents' }).click();
    await page.locator('.row', { hasText: 'elder in ancient' }).waitFor();
    expect(await page.locator('.row', { hasText: 'done in' }).count()).toBe(0);
    // Nothing can be done with agents of a closed run.
    await page.goto(`${service.origin}/#/runs/closed-7`);
    await page.getByRole('link', { name: 'done', exact: true }).first().waitFor();
    expect(await page.getByRole('button', { name: 'say something' }).count()).toBe(0);
  });
});

it('an agent that works without a sign of life is marked as stalled', async () => {
  const id = await service.ask({ run_id: 'silent', agent_name: 'sleeper' });
  await service.send('PUT', `/questions/${id}/answer`, { answer: 'Go on.' });
  const page = await opened('#/agents');
  const row = page.locator('.row', { hasText: 'sleeper in silent' });
  await row.getByText('working').waitFor();
  expect(await row.getByText('stalled').count()).toBe(0);
  await sqlBeside(
    service.url,
    `UPDATE control_threads SET last_seen_at = last_seen_at - ${16 * 60_000} WHERE run_id = 'silent'`,
  );
  await page.reload();
  await row.getByText('stalled').waitFor();
  await row.getByText('last seen 16 min ago').waitFor();
  await page.getByRole('heading', { name: /^Stalled/ }).waitFor();
});

it.each([-10, 20])('times are by the clock of the service: the browser is %i min ahead', async minutes => {
  const id = await service.ask({ run_id: 'clock', agent_name: `at ${minutes}`, expires_in_seconds: 300, options });
  const { page } = await openPerson(browser, () => service.origin);
  await page.clock.setSystemTime(Date.now() + minutes * 60_000);
  await page.goto(`${service.origin}/#/q/${id}`);
  expect(await card(page, id).textContent()).toMatch(/[0-9]+ s · expires in [45] min/);
  await page.goto(`${service.origin}/#/agents`);
  const row = page.locator('.row', { hasText: `at ${minutes} in clock` });
  await row.getByText('awaiting guidance').waitFor();
  expect(await row.textContent()).toMatch(/last seen [0-9]+ s ago/);
});

it('the numbers are plots that read as tables, also on a phone', async () => {
  await service.send('PUT', `/questions/${await service.ask({ run_id: 'counted' })}/answer`, { answer: 'Yes.' });
  const page = await opened('#/numbers', { viewport: { width: 360, height: 740 } });
  const plot = page.locator('figure', { hasText: 'Median time to an answer' });
  await plot.getByRole('row', { name: /^normal \d/ }).waitFor();
  await page.locator('figure', { hasText: 'Open questions by age' }).getByRole('row', { name: 'older 0' }).waitFor();
  const sizes = await page
    .locator('.plot th, .plot td')
    .evaluateAll(cells => cells.map(cell => Number.parseFloat(getComputedStyle(cell).fontSize)));
  expect(Math.min(...sizes)).toBeGreaterThanOrEqual(13);
  // The name of the view is in sight although the names are wider than the phone.
  const { left, right } = await page
    .locator('nav [aria-current]')
    .evaluate(link => ({ ...link.getBoundingClientRect().toJSON() }));
  expect(left).toBeGreaterThanOrEqual(0);
  expect(right).toBeLessThanOrEqual(360);
});

describe('with very many runs', () => {
  const crowded = pageService({ RATE_LIMIT_PER_MINUTE: '0' });

  it('the inbox stays with the one that it was narrowed to', async () => {
    await crowded.ask({ run_id: 'mine' });
    const { page } = await openPerson(browser, () => crowded.origin);
    await page.goto(crowded.origin);
    const choice = page.getByLabel('Run', { exact: true });
    await choice.selectOption('mine');
    const names = Array.from({ length: 410 }, (_, number) => `many-${number}`);
    await Promise.all(names.map(run_id => crowded.ask({ run_id })));
    await crowded.ask({ run_id: 'last' });
    await choice.locator('option', { hasText: 'last' }).waitFor({ state: 'attached' });
    await crowded.ask({ run_id: 'mine', agent_name: 'next' });
    await expect.poll(() => page.locator('[data-question]').count()).toBe(2);
    expect(await choice.inputValue()).toBe('mine');
  });
});
