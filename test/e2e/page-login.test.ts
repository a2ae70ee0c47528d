import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openPerson, violationsOf } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { commandLine } from '../helpers/cli.ts';
import { pageService } from '../helpers/page-service.ts';
import { signal } from '../helpers/signals.ts';
import { bearer, people, type Tokens, withTokens } from '../helpers/tokens.ts';

const service = pageService();
let browser: Browser;
let tokens: Tokens;
beforeAll(async () => {
  browser = await openBrowser();
  tokens = await withTokens({
    url: service.url,
    send: (...[method, path, body, headers]) => service.send(method, path, body, headers),
  });
  return () => browser.close();
});

const of = async (role: keyof typeof people) => (await tokens.issue({ role, actor: people[role] })).token;
const open = (FORUMBUS_TOKEN: string) =>
  commandLine({ env: { FORUMBUS_URL: service.origin, FORUMBUS_TOKEN, XDG_STATE_HOME: '/nonexistent' }, cwd: '/' })([
    'open',
  ]);
/** A refused request is no fault of the page. */
const forgive = (faults: string[]) => {
  const others = faults.filter(fault => !/status of 40[13]/.test(fault));
  faults.splice(0, faults.length, ...others);
};
const ask = async (fields: object = {}) => {
  const { body } = await tokens.admin('POST', '/control-signals', { ...signal('guidance_request'), ...fields });
  return body.question.question_id as string;
};

describe('the page of a service with tokens', () => {
  it('lets a browser in by the link of `forumbus open`, and nobody without one', async () => {
    const { page, faults } = await openPerson(browser, () => service.origin);
    await page.goto(service.origin);
    await page.getByRole('heading', { name: 'Log in to Forumbus' }).waitFor();
    forgive(faults);
    expect(await violationsOf(page)).toEqual([]);
    const { out, code } = await open(await of('operator'));
    expect({ out, code }).toEqual({
      out: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/#login=[\w-]{43}$/),
      code: 0,
    });
    // As if it was pasted into the tab that shows the login: only the fragment changes.
    await page.goto(out);
    await page.getByText('live · ana').waitFor();
    expect(page.url()).not.toContain('login=');
    const id = await ask({ run_id: 'login', options: ['yes', 'no'] });
    await page.locator(`#q-${id}`).getByRole('button', { name: 'no' }).click();
    await expect
      .poll(async () => (await tokens.admin('GET', `/questions/${id}`)).body, { timeout: 9000 })
      .toMatchObject({ answer: 'no', answered_by: people.operator, answered_in: 'page' });
    expect(await page.evaluate(() => document.cookie)).toBe('');
    // The link is used up.
    const other = await openPerson(browser, () => service.origin);
    await other.page.goto(out);
    await other.page.getByRole('heading', { name: 'Log in to Forumbus' }).waitFor();
    forgive(other.faults);
  });

  it('takes a token, says why it refuses one, and forgets the browser that signs out', async () => {
    const { page, faults } = await openPerson(browser, () => service.origin);
    await page.goto(service.origin);
    const field = page.getByLabel('Or paste a token');
    await field.fill(`fbt_${'0'.repeat(16)}_${'0'.repeat(64)}`);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('The token is unknown to this service.').waitFor();
    await field.fill((await tokens.issue({ role: 'agent', runs: '*', agents: '*' })).token);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('The role agent may not do this.').waitFor();
    // As a chat or a mail may have dressed it.
    await field.fill(`“${await of('operator')}”`);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('live · ana').waitFor();
    await page.getByRole('button', { name: 'Settings and keys' }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Log in to Forumbus' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Log in to Forumbus' }).waitFor();
    forgive(faults);
  });

  it('sends what waits for an undo, in all tabs, before it signs out', async () => {
    const { page, context, faults } = await openPerson(browser, () => service.origin);
    await page.goto((await open(await of('operator'))).out);
    await page.getByText('live · ana').waitFor();
    const other = await context.newPage();
    await other.goto(service.origin);
    const asked: string[] = [];
    for (const tab of [page, other]) {
      const id = await ask({ run_id: 'leaving', agent_name: `a-${asked.length}`, options: ['yes', 'no'] });
      await tab.locator(`#q-${id}`).getByRole('button', { name: 'no' }).click();
      asked.push(id);
    }
    await page.getByRole('button', { name: 'Settings and keys' }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Log in to Forumbus' }).waitFor();
    for (const id of asked)
      expect((await tokens.admin('GET', `/questions/${id}`)).body).toMatchObject({ state: 'answered', answer: 'no' });
    forgive(faults);
  });

  it('shows one person in all tabs of a browser', async () => {
    const { page, context, faults } = await openPerson(browser, () => service.origin);
    const other = await context.newPage();
    const showLogin = () =>
      Promise.all([page, other].map(tab => tab.getByRole('heading', { name: 'Log in to Forumbus' }).waitFor()));
    const id = await ask({ run_id: 'tabs', options: ['yes', 'no'] });
    await page.goto((await open(await of('operator'))).out);
    await other.goto(service.origin);
    await other.getByText('live · ana').waitFor();
    // What waits for its undo is not sent as the person who comes.
    await other.locator(`#q-${id}`).getByRole('button', { name: 'no' }).click();
    await other.getByText('Answered “no”').first().waitFor();
    const bob = await tokens.issue({ role: 'operator', actor: { type: 'operator', name: 'bob' } });
    await page.goto((await open(bob.token)).out);
    await other.getByText('live · bob').waitFor();
    await other.locator(`#q-${id}`).getByRole('button', { name: 'no' }).waitFor();
    expect((await tokens.admin('GET', `/questions/${id}`)).body.state).toBe('open');
    await page.getByRole('button', { name: 'Settings and keys' }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await showLogin();
    await page.goto((await open(bob.token)).out);
    await other.getByText('live · bob').waitFor();
    // No tab is told of this; the stream ends.
    const headers = { origin: service.origin, 'x-forumbus-page': '1' };
    await context.request.delete(`${service.origin}/page/session`, { headers });
    await showLogin();
    forgive(faults);
  });

  it('shows what one person has written to nobody else at the same browser', async () => {
    const id = await ask({ run_id: 'shared' });
    const { page, faults } = await openPerson(browser, () => service.origin);
    const field = page.locator(`#q-${id} textarea`);
    const { token: bob } = await tokens.issue({ role: 'operator', actor: { type: 'operator', name: 'bob' } });
    const ana = await of('operator');
    const seen: string[] = [];
    for (const token of [ana, bob, ana]) {
      await page.goto((await open(token)).out);
      seen.push(await field.inputValue());
      if (seen.length === 1) await field.fill('What ana thinks');
      await page.getByRole('button', { name: 'Settings and keys' }).click();
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByRole('heading', { name: 'Log in to Forumbus' }).waitFor();
    }
    expect(seen).toEqual(['', '', 'What ana thinks']);
    forgive(faults);
  });

  it('shows a viewer everything and lets him change nothing', async () => {
    const id = await ask({ run_id: 'viewed', options: ['yes', 'no'] });
    const { page } = await openPerson(browser, () => service.origin);
    await page.goto((await open(await of('viewer'))).out);
    const card = page.locator(`#q-${id}`);
    await card.getByText('yes').waitFor();
    expect(await card.getByRole('button').count()).toBe(0);
    await card.focus();
    await page.keyboard.press('1');
    await page.goto(`${service.origin}/#/runs/viewed`);
    await page.getByText('has an open question').waitFor();
    expect(await page.getByRole('button', { name: 'Close run' }).count()).toBe(0);
    expect(await page.getByRole('link', { name: 'Tokens' }).count()).toBe(0);
    await page.getByRole('link', { name: 'Deliveries' }).click();
    await page.getByRole('heading', { name: 'Subscriptions' }).waitFor();
    expect(await page.getByRole('link', { name: 'Webhooks' }).count()).toBe(0);
    for (const view of ['webhooks', 'tokens']) {
      await page.goto(`${service.origin}/#/${view}`);
      await page.getByText('Nothing here').waitFor();
      await page.getByRole('link', { name: 'To the inbox' }).click();
    }
    expect((await tokens.admin('GET', `/questions/${id}`)).body.state).toBe('open');
  });

  it('shows a person of several runs the one that is chosen, live, and nothing of others', async () => {
    const [one] = [
      await ask({ run_id: 'team-one' }),
      await ask({ run_id: 'team-two' }),
      await ask({ run_id: 'viewed' }),
    ];
    const { token } = await tokens.issue({ role: 'operator', actor: people.operator, runs: 'team-*' });
    const { page } = await openPerson(browser, () => service.origin);
    await page.goto((await open(token)).out);
    const choice = page.getByLabel('Run to look at');
    await choice.locator('option', { hasText: 'team-two' }).waitFor({ state: 'attached' });
    expect(await choice.locator('option').allTextContents()).toEqual(['choose one of team-*', 'team-one', 'team-two']);
    await choice.selectOption('team-one');
    await page.locator(`#q-${one}`).waitFor();
    const next = await ask({ run_id: 'team-one' });
    await page.locator(`#q-${next}`).waitFor();
    expect(await page.locator('[data-question]').count()).toBe(2);
    for (const name of ['Deliveries', 'Numbers']) expect(await page.getByRole('link', { name }).count()).toBe(0);
    await page.getByRole('link', { name: 'Agents' }).click();
    await page.getByText('in team-one').waitFor();
    await page.getByRole('link', { name: 'Runs' }).click();
    await page.getByText('team-two').last().waitFor();
    expect(await page.getByText('viewed').count()).toBe(0);
  });

  it('lets an admin make and revoke tokens; a revoked one shows the login at once', async () => {
    const victim = await tokens.issue({ role: 'operator', actor: { type: 'operator', name: 'mallory' } });
    const mallory = await openPerson(browser, () => service.origin);
    await mallory.page.goto((await open(victim.token)).out);
    await mallory.page.getByText('live · mallory').waitFor();
    const { page } = await openPerson(browser, () => service.origin);
    await page.goto((await open(tokens.first.token)).out);
    await page.getByRole('link', { name: 'Tokens' }).click();
    await page.getByLabel('Runs').fill('shop-*');
    await page.getByLabel('Agents', { exact: true }).fill('*');
    await page.getByRole('button', { name: 'Make a token' }).click();
    const made = (await page.locator('code.secret').textContent()) as string;
    expect((await service.send('GET', '/me', undefined, bearer(made))).body).toMatchObject({
      role: 'agent',
      runs: 'shop-*',
    });
    expect(await violationsOf(page)).toEqual([]);
    const row = page.locator('.row', { hasText: 'mallory' });
    await row.getByRole('button', { name: 'revoke' }).click();
    await row.getByRole('button', { name: 'Revoke it for good?' }).click();
    await row.getByText('revoked').waitFor();
    await mallory.page.getByRole('heading', { name: 'Log in to Forumbus' }).waitFor();
    forgive(mallory.faults);
  });

  it('works behind a proxy that strips a prefix', async () => {
    const proxy = createServer((incoming, outgoing) => {
      const { method, headers, url = '' } = incoming;
      if (!url.startsWith('/forum/')) return outgoing.writeHead(404).end();
      const target = new URL(url.slice('/forum'.length), service.origin);
      const passed = request(target, { method, headers }, answer => {
        outgoing.writeHead(answer.statusCode as number, answer.headers);
        answer.pipe(outgoing);
      });
      passed.on('error', () => outgoing.destroy());
      outgoing.on('close', () => passed.destroy());
      incoming.pipe(passed);
    });
    await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      proxy.closeAllConnections();
      proxy.close();
    });
    const root = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/forum`;
    const { page } = await openPerson(browser, root);
    const { out } = await open(await of('operator'));
    await page.goto(`${root}/${out.slice(out.indexOf('#'))}`);
    await page.getByText('live · ana').waitFor();
    const id = await ask({ run_id: 'prefix', question: 'Behind a proxy?' });
    await page.locator(`#q-${id}`).waitFor();
    await page.goto(`${root}/q/${id}`);
    await page.locator(`#q-${id}`).getByRole('heading', { name: 'Behind a proxy?' }).waitFor();
    await page.getByRole('link', { name: 'Inbox' }).first().click();
    await page.getByRole('heading', { name: 'Needs me' }).waitFor();
    expect(page.url().startsWith(`${root}/`)).toBe(true);
  });
});
