import chromium from '@sparticuz/chromium';
import { type Browser, chromium as driver } from 'playwright-core';

/*
 * A real Chromium, which comes with the development dependencies. FORUMBUS_CHROMIUM names another one, for machines that
 * lack its libraries.
 */

/** Root may not use the sandbox, and containers have little shared memory. */
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'];

/** Starts the browser. @throws Error with one sentence about where to get one */
export async function openBrowser(): Promise<Browser> {
  const executablePath = process.env.FORUMBUS_CHROMIUM ?? (await chromium.executablePath());
  try {
    return await driver.launch({ executablePath, args: ARGUMENTS, headless: true });
  } catch (error) {
    throw new Error(
      `Chromium does not start (${executablePath}): install one, for example by \`apt-get install chromium\`, and name it in FORUMBUS_CHROMIUM.`,
      { cause: error },
    );
  }
}
