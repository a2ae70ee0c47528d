import { beforeAll, beforeEach, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { type HostSession, hostSession } from '../helpers/hooks.ts';
import { called, connected } from '../helpers/mcp.ts';
import { listen } from '../helpers/socket.ts';

let service: TestApp;
let url: string;
let session: HostSession;

beforeAll(async () => {
  service = await startApp('sqlite', { config: { ROLE: 'all', POLL_INTERVAL_MS: '20', MIN_DEFAULT_SECONDS: '1' } });
  url = `http://127.0.0.1:${await listen(service.app)}`;
  return () => service.close();
});
beforeEach(async () => {
  session = await hostSession('claude', service, url, { FORUMBUS_AGENT: 'claude' });
});

const regions = { options: ['us', 'eu', 'ap'], multi_select: true };
/** What the hook, the command and the tool say of a question that has ended. */
const told = async (question_id: string) => {
  const hook = await session.fire({ hook_event_name: 'PostToolBatch' });
  const client = await connected(`${url}/mcp?run=${session.run_id}&agent=claude`, '2026-07-28');
  return {
    hook: hook.hookSpecificOutput.additionalContext,
    command: (await session.program(['wait', question_id])).out,
    tool: (await called(client, 'wait', { question_id })).text,
  };
};

it.each([
  [{ default_selected: ['us', 'eu'] }, 'us, eu'],
  [{ default_selected: ['us', 'eu'], default_answer: 'us' }, 'us, eu'],
])('a default of several labels is told once, in the order of its agent: %j', async (fallback, text) => {
  const id = await session.ask('Where?', { ...regions, ...fallback, expires_in_seconds: 1 });
  await expect.poll(() => session.questions('&state=expired'), { timeout: 10_000 }).toHaveLength(1);
  expect(await told(id)).toEqual({
    hook: expect.stringContaining(`Question ${id} expired, so its default holds: ${text} (question: Where?)`),
    command: `expired, so the default holds: ${text}`,
    tool: expect.stringMatching(new RegExp(`your default applies: ${text}$`, 'm')),
  });
});

it.each([
  [{ selected: ['us', 'eu'] }, 'eu, us'],
  [{ selected: ['us', 'eu'], answer: 'us, eu' }, 'eu, us'],
  [{ selected: ['us', 'eu'], answer: 'us, later eu' }, 'eu, us (us, later eu)'],
  [{ answer: 'Nowhere.' }, 'Nowhere.'],
])('a text beside labels is told if it says more: %j', async (answer, text) => {
  const id = await session.news(answer, 'Where?', regions);
  expect(await told(id)).toEqual({
    hook: expect.stringContaining(`Answer to ${id} by ana: ${text} (question: Where?)`),
    command: text,
    tool: expect.stringMatching(new RegExp(`^Answered by ana: ${text.replace(/[()]/g, '\\$&')}$`, 'm')),
  });
});
