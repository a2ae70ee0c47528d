import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { demo } from '../helpers/demo.ts';

/*
 * Takes the pictures of docs/page.md, from a service with some runs. Look at them before you commit them.
 */

process.removeAllListeners('warning');
const images = join(import.meta.dirname, '../../docs/images');
const views: [name: string, path: string][] = [
  ['inbox', '/'],
  ['run', '/#/runs/shop-1'],
];
const SIZES = [
  { width: 1280, height: 860 },
  { width: 360, height: 740 },
];

const folder = await mkdtemp(join(tmpdir(), 'forumbus-screenshots-'));
const config = readConfig({ DATABASE_URL: `sqlite:${join(folder, 'forumbus.db')}`, PORT: '0' });
const app = await buildApp(config, pino({ level: 'silent' }));
const origin = await app.listen({ port: 0, host: '127.0.0.1' });
const browser = await openBrowser();
try {
  await demo(origin);
  await mkdir(images, { recursive: true });
  for (const viewport of SIZES) {
    for (const colorScheme of ['light', 'dark'] as const) {
      const context = await browser.newContext({ viewport, colorScheme, locale: 'en-GB' });
      await context.addInitScript(() => localStorage.setItem('forumbus:name', '"ana"'));
      const page = await context.newPage();
      for (const [name, path] of views) {
        await page.goto(origin + path);
        await page.getByText('Checkout rewrite').first().waitFor();
        await page.screenshot({ path: join(images, `${name}-${viewport.width}-${colorScheme}.png`) });
      }
      await context.close();
    }
  }
} finally {
  await browser.close();
  await app.close();
  await rm(folder, { recursive: true, force: true });
}
