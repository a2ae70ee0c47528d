import type { Browser } from 'playwright-core';
import { beforeAll, expect, it } from 'vitest';
import { openPerson } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { pageService } from '../helpers/page-service.ts';
import { signal } from '../helpers/signals.ts';

const service = pageService({ RATE_LIMIT_PER_MINUTE: '0' });
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
  return () => browser.close();
});
const opened = async () => {
  const { page, context } = await openPerson(browser, () => service.origin);
  await page.goto(service.origin);
  await page.getByRole('heading', { name: 'Needs me' }).waitFor();
  return { page, context };
};

/** The part of `times` that is slower than 19 of 20. */
const p95 = (times: number[]) => times.toSorted((a, b) => a - b)[Math.ceil(times.length * 0.95) - 1] as number;

it('shows a question soon after its 201', async () => {
  const { page } = await opened();
  await page.evaluate(() => {
    const seen: Record<string, number> = {};
    (globalThis as unknown as { seen: typeof seen }).seen = seen;
    new MutationObserver(() => {
      for (const one of document.querySelectorAll('[data-question]')) seen[one.id] ??= Date.now();
    }).observe(document.body, { childList: true, subtree: true });
  });
  const round = async () => {
    const asked = new Map<string, number>();
    for (let index = 0; index < 40; index += 1) {
      const id = await service.ask({ run_id: 'soon', question: `Question ${index}?`, priority: 'urgent' });
      asked.set(`q-${id}`, Date.now());
      await page.locator(`#q-${id}`).waitFor({ state: 'attached' });
      await service.send('POST', `/questions/${id}/cancel`, {});
    }
    const seen = await page.evaluate(() => (globalThis as unknown as { seen: Record<string, number> }).seen);
    return p95([...asked].map(([id, at]) => (seen[id] as number) - at));
  };
  // Other tests may keep the machine busy during a round.
  const rounds: number[] = [];
  while (rounds.length < 4 && !((rounds.at(-1) ?? Number.POSITIVE_INFINITY) < 200)) rounds.push(await round());
  process.stdout.write(`201 to visible row: p95 ${rounds.join(', ')} ms\n`);
  expect(Math.min(...rounds)).toBeLessThan(200);
});

it('stays small while events come', async () => {
  const { page, context } = await opened();
  const inspector = await context.newCDPSession(page);
  const heap = async () => {
    await inspector.send('HeapProfiler.collectGarbage');
    const { usedSize } = await inspector.send('Runtime.getHeapUsage');
    return usedSize;
  };
  /** A question, its answer and the acknowledgement: eight events. */
  const turn = async (index: number) => {
    const id = await service.ask({ run_id: 'long', question: `Question ${index}?`, context: 'because '.repeat(50) });
    await service.send('PUT', `/questions/${id}/answer`, { answer: 'Yes.' });
    await service.send('POST', `/questions/${id}/acknowledge`, {});
  };
  const turns = async (from: number, to: number) => {
    for (let index = from; index < to; index += 1) await turn(index);
    const last = await service.ask({ run_id: 'long', question: `Until ${to}` });
    await page.locator(`#q-${last}`).waitFor({ state: 'attached' });
    await service.send('POST', `/questions/${last}/cancel`, {});
  };
  await turns(0, 40);
  const before = await heap();
  await turns(40, 190);
  // What is still on its way is no leak, and some garbage takes more than one collection.
  await expect.poll(async () => (await heap()) - before, { timeout: 30_000, interval: 1000 }).toBeLessThan(2_000_000);
});

it('is usable with 500 open questions', async () => {
  for (let agent = 0; agent < 5; agent += 1) {
    const asked = Array.from({ length: 100 }, (_, index) =>
      service.send('POST', '/control-signals', {
        ...signal('guidance_request', { run_id: 'many', agent_name: `agent-${agent}`, options: ['Yes', 'No'] }),
        question: `Question ${index} of agent ${agent}?`,
      }),
    );
    await Promise.all(asked);
  }
  const { page, context } = await opened();
  await page.getByText('500 questions').waitFor();
  expect(await page.title()).toBe('(500) Forumbus');
  const paint = async () => {
    await page.reload();
    await page.getByText('500 questions').waitFor();
    const [ms = Number.NaN] = await page.evaluate(() =>
      performance.getEntriesByName('first-contentful-paint').map(({ startTime }) => {
        const [{ responseEnd }] = performance.getEntriesByType('navigation') as [PerformanceNavigationTiming];
        return startTime - responseEnd;
      }),
    );
    process.stdout.write(`first paint ${Math.round(ms)} ms after the HTML\n`);
    return ms;
  };
  // Other programs make a load slower, none makes it quicker.
  await expect.poll(paint, { timeout: 60_000 }).toBeLessThan(300);
  // Keys stay quick: each moves the focus within a frame or two.
  const cards = page.locator('[data-question]');
  await cards.first().focus();
  const began = Date.now();
  for (let index = 0; index < 30; index += 1) await page.keyboard.press('j');
  expect((Date.now() - began) / 30).toBeLessThan(100);
  const focused = await page.evaluate(() => document.activeElement?.getAttribute('data-question'));
  expect(focused).toBe(await cards.nth(30).getAttribute('data-question'));
  await page.keyboard.press('2');
  await page.getByText('Answered “No”').first().waitFor();
  await page.getByRole('button', { name: /^Show 40 more of/ }).click();
  expect(await cards.count()).toBeGreaterThan(79);
  await context.close();
});
