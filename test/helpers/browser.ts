import chromium from '@sparticuz/chromium';
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium as driver,
  type Page,
} from 'playwright-core';
import { expect, onTestFinished } from 'vitest';

/*
 * A real Chromium, which comes with the development dependencies. FORUMBUS_CHROMIUM names another one, for machines that
 * lack its libraries.
 */

/** Starts the browser. @throws Error with one sentence about where to get one */
export async function openBrowser(): Promise<Browser> {
  const executablePath = process.env.FORUMBUS_CHROMIUM ?? (await chromium.executablePath());
  try {
    return await driver.launch({ executablePath, args: [...chromium.args, '--no-sandbox'], headless: true });
  } catch (error) {
    throw new Error(
      `Chromium does not start (${executablePath}): install one, for example by \`apt-get install chromium\`, and name it in FORUMBUS_CHROMIUM.`,
      { cause: error },
    );
  }
}

/** A browser of one person. Its faults fail the test: console errors, broken policies, requests to elsewhere. */
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
