import axe from 'axe-core';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';

/** A browser of one person. Its faults fail the test: console errors, as which Chromium also reports a broken
 * policy, and requests to elsewhere. */
export interface Person {
  context: BrowserContext;
  page: Page;
  /** What was wrong so far; a test that cuts the connection takes those away that it has caused. */
  faults: string[];
}

export async function openPerson(
  browser: Browser,
  origin: string | (() => string),
  options: BrowserContextOptions = {},
): Promise<Person> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('console', message => {
    if (message.type() === 'error') faults.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', error => faults.push(`error: ${error.stack}`));
  const own = () => (typeof origin === 'string' ? origin : origin());
  context.on('request', request => {
    if (!request.url().startsWith(`${own()}/`)) faults.push(`request: ${request.url()}`);
  });
  onTestFinished(async () => {
    await context.close();
    expect(faults).toEqual([]);
  });
  return { context, page, faults };
}

/** What axe finds wrong with a page, in words; nothing if it is accessible. */
export async function violationsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const runOnly = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    const { violations } = await (globalThis as unknown as { axe: typeof axe }).axe.run({ runOnly });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  });
}
