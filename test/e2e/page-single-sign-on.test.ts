import axe from 'axe-core';
import type { Browser } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { openPerson, type Person } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { CLIENT, type OpenidProvider, startOpenidProvider } from '../helpers/openid-provider.ts';
import { pageService } from '../helpers/page-service.ts';
import { freePort } from '../helpers/ports.ts';
import { signal } from '../helpers/signals.ts';
import { bearer, firstToken } from '../helpers/tokens.ts';

const port = await freePort();
// Another site than that of the service, as most providers are.
const host = 'localhost';
const issuer = `http://${host}:${port}`;
const service = pageService(origin => ({
  PUBLIC_URL: origin,
  OIDC_ISSUER: issuer,
  OIDC_CLIENT_ID: CLIENT.id,
  OIDC_CLIENT_SECRET: CLIENT.secret,
  OIDC_OPERATORS: 'ops',
  OIDC_VIEWERS: '@example.org',
}));
const accounts = {
  ana: { email: 'ana@example.org', email_verified: true, groups: ['ops'] },
  vera: { email: 'vera@example.org', email_verified: true },
  mallory: { email: 'mallory@evil.example', email_verified: true },
};
let browser: Browser;
let provider: OpenidProvider;
let admin: { authorization: string };
const startProvider = () => startOpenidProvider(`${service.origin}/page/login/oidc/callback`, accounts, { host, port });
beforeAll(async () => {
  browser = await openBrowser();
  provider = await startProvider();
  admin = bearer((await firstToken(service.url)).token);
  return async () => {
    await browser.close();
    await provider.close();
  };
});

const ask = async (fields: object) => {
  const asked = { ...signal('guidance_request'), options: ['yes', 'no'], ...fields };
  const { body } = await service.send('POST', '/control-signals', asked, admin);
  return body.question.question_id as string;
};
/** The way to the provider and refused requests are no faults of the page. */
const forgive = ({ faults }: Person) => {
  const isExpected = (fault: string) =>
    fault.startsWith(`request: ${issuer}/`) ||
    /status of (401|403|503)/.test(fault) ||
    fault.endsWith(`${issuer}/favicon.ico`);
  const others = faults.filter(fault => !isExpected(fault));
  faults.splice(0, faults.length, ...others);
};
/** Logs in at the page that is shown. */
async function logIn({ page }: Person, account: string): Promise<void> {
  await page.getByRole('link', { name: 'Log in with single sign-on' }).click();
  await page.getByLabel('Login').fill(account);
  await page.getByRole('button', { name: 'Go' }).click();
}

describe('single sign-on in a browser', () => {
  it('brings a person to the question of a link, by whom the answer then is', async () => {
    const id = await ask({ run_id: 'sso', question: 'Ship it?' });
    const person = await openPerson(browser, () => service.origin);
    const { page } = person;
    await page.goto(`${service.origin}/q/${id}`);
    await logIn(person, 'ana');
    await page.getByText('live · ana@example.org').waitFor();
    expect(page.url()).toBe(`${service.origin}/#/q/${id}`);
    await page.locator(`#q-${id}`).getByRole('button', { name: 'yes' }).click();
    await expect
      .poll(async () => (await service.send('GET', `/questions/${id}`, undefined, admin)).body, { timeout: 9000 })
      .toMatchObject({ answer: 'yes', answered_by: { type: 'human', name: 'ana@example.org' }, answered_in: 'page' });
    expect(await page.evaluate(() => document.cookie)).toBe('');
    await page.reload();
    await page.getByText('live · ana@example.org').waitFor();
    await page.getByRole('button', { name: 'Settings and keys' }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    // The provider asks whether to log out there, too.
    await page.getByRole('button', { name: 'Yes, sign me out' }).click();
    await page.getByRole('heading', { name: 'Log in to Forumbus' }).waitFor();
    expect(page.url()).toBe(`${service.origin}/`);
    await page.getByRole('link', { name: 'Log in with single sign-on' }).click();
    await page.getByLabel('Login').waitFor();
    forgive(person);
  });

  it('shows a viewer the inbox without buttons', async () => {
    const id = await ask({ run_id: 'sso', agent_name: 'viewed' });
    const person = await openPerson(browser, () => service.origin);
    await person.page.goto(service.origin);
    await logIn(person, 'vera');
    const card = person.page.locator(`#q-${id}`);
    await card.getByText('yes').waitFor();
    expect(await card.getByRole('button').count()).toBe(0);
    forgive(person);
  });

  it('tells a stranger plainly, and a token still lets in there', async () => {
    const person = await openPerson(browser, () => service.origin);
    const { page } = person;
    await page.goto(service.origin);
    await logIn(person, 'mallory');
    await page.getByRole('alert').getByText('mallory@evil.example may not use this service').waitFor();
    expect(page.url()).toBe(`${service.origin}/`);
    await page.evaluate(axe.source);
    const found = await page.evaluate(async () => {
      const { violations } = await (globalThis as unknown as { axe: typeof axe }).axe.run(document);
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
    });
    expect(found).toEqual([]);
    await page.getByLabel('Or paste a token').fill(admin.authorization.replace('Bearer ', ''));
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('live · root').waitFor();
    forgive(person);
  });

  it('says that the provider is away, and goes on when it is back', async () => {
    await provider.close();
    const person = await openPerson(browser, () => service.origin);
    const { page } = person;
    await page.goto(`${service.origin}/#/runs`);
    await page.getByRole('link', { name: 'Log in with single sign-on' }).click();
    await page.getByRole('alert').getByText('Single sign-on does not work now').waitFor();
    provider = await startProvider();
    await logIn(person, 'ana');
    await page.getByText('live · ana@example.org').waitFor();
    forgive(person);
  });
});
