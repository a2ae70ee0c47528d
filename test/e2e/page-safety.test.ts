import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { openPerson, violationsOf } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { demo } from '../helpers/demo.ts';
import { pageService } from '../helpers/page-service.ts';

const service = pageService({ ROLE: 'all' });
let browser: Browser;
beforeAll(async () => {
  await demo(service.origin);
  // Names that are smaller than a finger.
  await service.ask({ run_id: 'r', agent_name: 'i', question: 'Small?', priority: 'low' });
  const webhook = { name: 'chat', url: 'https://chat.example.com/', event_types: ['forum.question.*'], enabled: false };
  await service.send('POST', '/webhooks', webhook);
  browser = await openBrowser();
  return () => browser.close();
});
const opened = async (path = '/', options = {}) => {
  const person = await openPerson(browser, () => service.origin, options);
  await person.page.goto(service.origin + path);
  await person.page.locator('main h1').first().waitFor({ state: 'attached' });
  return person.page;
};
const card = (page: Page, id: string) => page.locator(`#q-${id}`);

/** The most that a context may have. Characters. */
const CONTEXT = 65_536;
const hostile = [
  '# <script>document.title = "owned"</script>',
  '<img src=x onerror="document.title=1"><iframe src="https://evil.example"></iframe>',
  '<style>body { display: none }</style><base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=https://evil.example">',
  '[press](javascript:document.title=1) [press](JaVaScRiPt&colon;alert(1)) [press](data:text/html,<script>alert(1)</script>) [press](vbscript:x)',
  '![pixel](https://evil.example/pixel.png) ![](http://evil.example/b.svg) ![x][ref]',
  '[ref]: https://evil.example/c.png "title"',
  '<https://evil.example/auto> <javascript:alert(1)>',
  '| a | b |\n|---|---|\n| <svg onload=alert(1)> | `<b>` |',
  'gen\u202Etxt.exe \u2066hidden\u2069 \u200Fright',
  '\u001B[31mred\u001B[0m \u0007bell \u009B2J',
  '<form action="https://evil.example"><button>Answer</button></form><link rel=stylesheet href="https://evil.example/x.css">',
  '```html\n<script>alert(1)</script>\n```',
  'R&amp;D &constructor; &toString;',
].join('\n\n');

describe('texts of agents', () => {
  it('are shown and never run, load nothing and steer nothing', async () => {
    const context = hostile + '\n\n'.padEnd(CONTEXT - hostile.length, `${'long '.repeat(200)}\n`);
    const question = '<b onclick=alert(1)>Drop</b> \u202Eevil\u202C?';
    const id = await service.ask({ run_id: '<i>run</i>', question, context, options: ['<u>yes</u>', 'no'] });
    const page = await opened(`/q/${id}`);
    const shown = card(page, id);
    await shown.waitFor();
    expect(await shown.locator('script, iframe, img, style, base, meta, form, link, svg, b[onclick]').count()).toBe(0);
    const links = await shown.locator('.md a').evaluateAll(all => all.map(one => one.getAttribute('href')));
    expect(links.length).toBeGreaterThan(2);
    for (const href of links) expect(href).toMatch(/^https?:/);
    const text = (await shown.textContent()) ?? '';
    for (const part of [
      '<script>',
      'onerror',
      '[U+202E]',
      '[U+2066]',
      '␛[31m',
      '␇',
      '[U+009B]',
      'R&D &constructor; &toString;',
    ])
      expect(text).toContain(part);
    expect(text).not.toMatch(/(?!\n)[\p{Cc}\p{Bidi_Control}]/u);
    expect(await page.title()).toMatch(/Forumbus$/);
    expect(await page.evaluate(() => getComputedStyle(document.body).display)).toBe('block');
  });

  const wide: [name: string, fields: { question?: string; context?: string }][] = [
    ['a hash', { question: `Deploy sha256:${'ab12'.repeat(16)}?` }],
    ['a path', { question: `Delete /home/builder/shop/${'generated_file_name_'.repeat(5)}.ts?` }],
    ['a long word', { question: 'W'.repeat(3000), context: 'W'.repeat(3000) }],
    ['numbers in numbers', { context: '1. '.repeat(30) }],
    ['points in points', { context: Array.from({ length: 30 }, (_, depth) => `${'  '.repeat(depth)}- a`).join('\n') }],
    ['quotes in quotes', { context: '> '.repeat(39) }],
  ];
  it.each(wide)('fit a phone: %s', async (name, fields) => {
    const run_id = `wide ${name}`;
    const id = await service.ask({ run_id, ...fields });
    const { thread_id } = (await service.send('GET', `/questions/${id}`)).body;
    const page = await opened('/', { viewport: { width: 360, height: 740 } });
    for (const [view, shown] of [
      [`q/${id}`, '.card'],
      [`threads/${encodeURIComponent(thread_id)}`, '.post'],
      [`runs/${encodeURIComponent(run_id)}`, '.timeline .said'],
    ]) {
      await page.goto(`${service.origin}/#/${view}`);
      await page
        .locator(shown as string)
        .first()
        .waitFor();
      expect({ view, width: await page.evaluate(() => document.documentElement.scrollWidth) }).toEqual({
        view,
        width: 360,
      });
    }
    await service.send('POST', `/questions/${id}/cancel`, {});
  });

  const nasty: [name: string, text: string][] = [
    ['stars', '*a'.repeat(CONTEXT / 2)],
    ['underscores', 'a_'.repeat(CONTEXT / 2)],
    ['an address', `${'a'.repeat(CONTEXT - 1)}@`],
    ['quotes in quotes', '>'.repeat(CONTEXT)],
    [
      'lists in lists',
      Array.from({ length: 300 }, (_, depth) => `${' '.repeat(2 * depth)}- a`)
        .join('\n')
        .slice(0, CONTEXT),
    ],
    ['points without a letter', '- <\n'.repeat(CONTEXT / 4)],
    ['many paragraphs', 'a_'.repeat(900).concat('\n\n').repeat(36).slice(0, CONTEXT)],
  ];
  it.each(nasty)('that take a lexer long do not hold the page up: %s', async (name, context) => {
    const id = await service.ask({ run_id: name, question: name, context });
    const page = await opened();
    await card(page, id).waitFor();
    const open = () =>
      page.evaluate(async question_id => {
        const more = document.querySelector(`#q-${question_id} .more`) as HTMLElement;
        const press = async () => {
          const began = performance.now();
          more.click();
          await new Promise(resolve => setTimeout(resolve));
          document.body.getBoundingClientRect();
          return performance.now() - began;
        };
        if (more.ariaExpanded === 'true') await press();
        return press();
      }, id);
    // Other programs make it slower, none makes it quicker.
    await expect.poll(open, { timeout: 30_000 }).toBeLessThan(1500);
    await service.send('POST', `/questions/${id}/cancel`, {});
  });
});

describe('the page is accessible', () => {
  const views = [
    '/',
    '/#/runs',
    '/#/runs/shop-1',
    '/#/agents',
    '/#/threads',
    '/#/deliveries',
    '/#/webhooks',
    '/#/webhooks/chat',
    '/#/numbers',
    '/#/history',
  ];
  for (const colorScheme of ['light', 'dark'] as const) {
    it.each(views)(`to axe, ${colorScheme}: %s`, async path => {
      const page = await opened(path, { colorScheme, viewport: { width: 360, height: 740 } });
      await page.locator('.rows, .plot, .card, .facts').first().waitFor();
      for (const button of await page.getByRole('button', { name: 'Add a webhook' }).all()) await button.click();
      expect(await violationsOf(page)).toEqual([]);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(overflow).toBeLessThanOrEqual(0);
    });

    it(`to axe, ${colorScheme}: a question, its thread, and the settings over them`, async () => {
      const page = await opened('/', { colorScheme, viewport: { width: 360, height: 740 } });
      const first = page.locator('[data-question]').first();
      for (const link of ['h3 a', '.who']) {
        await first.locator(link).click();
        await page.locator('.crumbs').waitFor();
        await first.waitFor();
        expect(await violationsOf(page)).toEqual([]);
      }
      await page.getByRole('button', { name: 'Settings and keys' }).click();
      await page.getByRole('dialog').waitFor();
      expect(await violationsOf(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBeLessThanOrEqual(
        0,
      );
    });
  }

  it('to the keyboard alone', async () => {
    const page = await opened();
    const id = await service.ask({ run_id: 'keys', question: 'By keys?', options: ['Yes', 'No'], priority: 'urgent' });
    await card(page, id).waitFor();
    const focus = () => page.evaluate(() => document.activeElement?.textContent?.trim() ?? '');
    // Tab goes through the header, the filters and the card to its first option; nothing holds it.
    await page.getByText('Skip to the content').focus();
    const seen = [await focus()];
    while (!seen.at(-1)?.startsWith('1Yes') && seen.length < 60) {
      await page.keyboard.press('Tab');
      seen.push(await focus());
    }
    expect(seen.length).toBeLessThan(32);
    // The option under the focus is not covered by the header or the toast.
    const isVisible = () =>
      page.evaluate(() => {
        const { left, top, width, height } = (document.activeElement as HTMLElement).getBoundingClientRect();
        return document.activeElement?.contains(document.elementFromPoint(left + width / 2, top + height / 2));
      });
    expect(await isVisible()).toBe(true);
    await page.keyboard.press('Enter');
    await page.getByText('Answered “Yes”').first().waitFor();
    await page.keyboard.press('z');
    await page.keyboard.press('?');
    await page.getByRole('dialog').waitFor();
    await page.getByRole('checkbox', { name: 'Keys of one letter' }).press('Space');
    await page.keyboard.press('Escape');
    await card(page, id).focus();
    await page.keyboard.press('2');
    await page.getByRole('link', { name: 'Runs' }).first().focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Runs', exact: true }).waitFor();
    const { body } = await service.send('GET', `/questions/${id}`);
    expect(body.state).toBe('open');
    await service.send('POST', `/questions/${id}/cancel`, {});
  });

  it('to fingers: every target is 24 pixels or more', async () => {
    const page = await opened('/', { viewport: { width: 360, height: 740 }, hasTouch: true });
    await page.locator('.card').first().waitFor();
    const small = await page.evaluate(() =>
      [...document.querySelectorAll('button, input, select, textarea, label.pick')].flatMap(one => {
        const { width, height } = one.getBoundingClientRect();
        const label = one.closest('label')?.getBoundingClientRect();
        return Math.min(label?.width ?? width, label?.height ?? height) < 24 ? [one.outerHTML] : [];
      }),
    );
    expect(small).toEqual([]);
  });
});
