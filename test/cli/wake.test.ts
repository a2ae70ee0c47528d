import { beforeAll, beforeEach, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { type HostSession, hostSession } from '../helpers/hooks.ts';
import { listen } from '../helpers/socket.ts';

let service: TestApp;
let url: string;
let session: HostSession;

beforeAll(async () => {
  service = await startApp('sqlite', { config: { ROLE: 'all' } });
  url = `http://127.0.0.1:${await listen(service.app)}`;
  return () => service.close();
});
beforeEach(async () => {
  session = await hostSession('claude', service, url, { CLAUDE_CODE_ENTRYPOINT: 'cli' });
});

const stop = { hook_event_name: 'Stop', stop_hook_active: false };
const waiter = { args: ['--wake'] };

it('rings when there is news, once, and leaves it to the next hook', async () => {
  const { ended } = session.spawn(stop, waiter);
  const id = await session.news();
  expect(await ended).toEqual({ code: 2, out: '', err: `Forumbus: 1 new answer (${id}).` });
  expect(await session.inbox()).toMatchObject([{ claimed_until: null }]);
  const again = session.spawn(stop, waiter);
  const told = await session.fire({ hook_event_name: 'UserPromptSubmit', prompt: '<task-notification>…' });
  expect(told.hookSpecificOutput.additionalContext).toContain(`Answer to ${id} by ana`);
  const next = await session.news();
  expect(await again.ended).toMatchObject({ code: 2, err: `Forumbus: 1 new answer (${next}).` });
});

it('stays silent about what the hook of the same event shows', async () => {
  await session.news();
  const shows = session.spawn(stop);
  const rings = session.spawn(stop, waiter);
  expect(session.outputOf(await shows.ended)).toBeDefined();
  await expect.poll(() => session.inbox()).toEqual([]);
  const id = await session.news();
  expect(await rings.ended).toMatchObject({ code: 2, err: `Forumbus: 1 new answer (${id}).` });
});

it('ends when a newer one waits for the session, when the session ends, and where nobody is at the terminal', async () => {
  const first = session.spawn(stop, waiter);
  await expect.poll(() => session.waiter(), { timeout: 20_000 }).toBe(first.child.pid);
  const second = session.spawn(stop, waiter);
  expect(await first.ended).toEqual({ code: 0, out: '', err: '' });
  await expect.poll(() => session.waiter(), { timeout: 20_000 }).toBe(second.child.pid);
  await session.fire({ hook_event_name: 'SessionEnd', reason: 'clear' });
  expect(await second.ended).toEqual({ code: 0, out: '', err: '' });
  await session.news();
  const headless = session.spawn(stop, { ...waiter, env: { CLAUDE_CODE_ENTRYPOINT: 'sdk-cli' } });
  expect(await headless.ended).toEqual({ code: 0, out: '', err: '' });
});
