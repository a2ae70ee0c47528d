import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openPerson } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { pageService } from '../helpers/page-service.ts';

const handler = `
import { existsSync } from 'node:fs';
export const topic = 'deploy.request';
export async function handle({ payload }: any, { permanent }: any): Promise<void> {
  if (!existsSync(payload.file)) throw permanent(payload.name + ' is not built');
}
`;
const folder = await handlersFolder({ 'deploy.ts': handler }, end => afterAll(end));
const service = pageService({ HANDLERS_DIR: folder });
let browser: Browser;
beforeAll(async () => {
  browser = await openBrowser();
  return () => browser.close();
});

const publish = async (name: string) => {
  const payload = { name, file: join(folder, `${name}.built`), note: 'gen\u202Etxt \u009B2J' };
  const { status, body } = await service.send('POST', '/outbox', { topic: 'deploy.request', payload });
  expect(status).toBe(201);
  return { file: payload.file, message_id: body.message_id as string };
};
const deliveryOf = async (id: string) => (await service.send('GET', `/outbox/${id}`)).body.deliveries[0];
const statusOf = async (id: string) => (await deliveryOf(id)).status;

it('dead messages say why; they are replayed once that is mended, or discarded', async () => {
  const [shop, blog] = [await publish('shop'), await publish('blog')];
  for (const { message_id } of [shop, blog]) await expect.poll(() => statusOf(message_id)).toBe('dead');
  const { page } = await openPerson(browser, () => service.origin);
  await page.goto(`${service.origin}/#/deliveries`);
  await page.locator('.row', { hasText: /^deploy.*2 dead/ }).waitFor();
  const row = (name: string) => page.locator('.row', { hasText: `${name} is not built` });
  await row('shop').getByText('for deploy').waitFor();
  await row('shop')
    .getByText(/^1 attempt, /)
    .waitFor();
  await row('shop').getByRole('button', { name: 'show attempts' }).click();
  await row('shop')
    .getByText(/ms, dead: /)
    .waitFor();
  const payload = await row('shop').locator('pre').textContent();
  for (const part of ['"name": "shop"', '"gen[U+202E]txt [U+009B]2J"']) expect(payload).toContain(part);

  // Nothing is mended yet: it dies again.
  await row('shop').getByRole('button', { name: 'replay' }).click();
  const attempts = async () => (await deliveryOf(shop.message_id)).attempt_history.length;
  await expect.poll(attempts).toBe(2);
  await writeFile(shop.file, '');
  await row('shop').getByRole('button', { name: 'replay' }).click();
  await expect.poll(() => row('shop').count()).toBe(0);
  await expect.poll(() => statusOf(shop.message_id)).toBe('sent');

  await row('blog').getByRole('button', { name: 'discard' }).click();
  expect(await statusOf(blog.message_id)).toBe('dead');
  await row('blog').getByRole('button', { name: 'Drop it for good?' }).click();
  await expect.poll(() => row('blog').count()).toBe(0);
  expect(await statusOf(blog.message_id)).toBe('discarded');
});
