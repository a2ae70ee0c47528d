import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { hostSession, region } from '../helpers/hooks.ts';
import { freePort } from '../helpers/ports.ts';
import { listen } from '../helpers/socket.ts';
import { people, withTokens } from '../helpers/tokens.ts';

let service: TestApp;
let url: string;

beforeAll(async () => {
  service = await startApp('sqlite', { config: { ROLE: 'all' } });
  url = `http://127.0.0.1:${await listen(service.app)}`;
  return () => service.close();
});

const batch = { hook_event_name: 'PostToolBatch' };

it('says nothing and ends with 0 without a service, and logs why', async () => {
  const session = await hostSession('claude', service, `http://127.0.0.1:${await freePort()}`);
  for (const event of ['SessionStart', 'Stop', 'PostToolBatch', 'PermissionRequest', 'PreToolUse']) {
    expect(await session.fire({ hook_event_name: event, tool_name: 'AskUserQuestion' })).toBeUndefined();
  }
  const log = join(session.folder, 'state/forumbus/hooks.log');
  expect((await readFile(log, 'utf8')).split('\n')).toEqual([
    ...['SessionStart', 'Stop', 'PostToolBatch', 'PermissionRequest', 'PreToolUse'].map(event =>
      expect.stringMatching(
        new RegExp(`^\\S+Z claude ${event} Error: No connection to http://127\\.0\\.0\\.1:\\d+\\.$`),
      ),
    ),
    '',
  ]);
  expect((await stat(log)).mode & 0o777).toBe(0o600);
});

it('says nothing when the service does not answer, refuses, or is another one', async () => {
  let asked = 0;
  const silent = createServer(socket => {
    asked += 1;
    socket.on('error', () => {});
  });
  const other = createServer(socket =>
    socket.on('error', () => {}).end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHello'),
  );
  const urls: string[] = [];
  for (const server of [silent, other]) {
    const port = await freePort();
    server.listen(port, '127.0.0.1');
    urls.push(`http://127.0.0.1:${port}`);
    onTestFinished(() => void server.close());
  }
  for (const there of urls) {
    const session = await hostSession('claude', service, there);
    expect(await session.fire(batch)).toBeUndefined();
    const [said] = (await readFile(join(session.folder, 'state/forumbus/hooks.log'), 'utf8')).split('\n');
    expect(said).toContain(there === urls[0] ? `No answer from ${there}.` : 'The answer is not JSON');
  }
  // Each hook of a service that hangs holds its host up: one request must do.
  expect(asked).toBe(1);
});

it('says nothing when its input or its settings are bad', async () => {
  const session = await hostSession('claude', service, url);
  await session.news();
  for (const input of ['', 'no JSON', '[]', 'null', '{"hook_event_name":7}', '{']) {
    expect(await session.program(['hook', 'claude'], { input })).toEqual({ code: 0, out: '', err: '' });
  }
  const settings = [{ FORUMBUS_URL: 'nonsense' }, { FORUMBUS_TOKEN_FILE: '/none' }, { FORUMBUS_EXPIRES: 'soon' }];
  for (const env of settings) await session.fire(batch, { env });
  expect(await session.inbox()).toHaveLength(1);
  // News does not depend on the state folder.
  expect(await session.fire(batch, { env: { XDG_STATE_HOME: '/proc/none' } })).toBeDefined();
  expect(await session.program(['hook', 'emacs'])).toMatchObject({ code: 1, err: expect.stringContaining('emacs') });
});

it('tells news, waits and ends on a Node that lacks what came after 20.0', async () => {
  const session = await hostSession('claude', service, url, { CLAUDE_CODE_ENTRYPOINT: 'sdk-cli' });
  const old = { NODE_OPTIONS: '--import=data:text/javascript,delete%20AbortSignal.any' };
  const id = await session.news();
  const told = session.outputOf(await session.spawn(batch, { env: old }).ended);
  expect(told.hookSpecificOutput.additionalContext).toContain(id);
  const asks = { hook_event_name: 'PreToolUse', tool_name: 'AskUserQuestion', tool_use_id: 't-1' };
  const input = { ...asks, tool_input: { questions: [region] } };
  const first = session.spawn(input, { env: old });
  await session.answer((await session.asked()).question_id, { selected: ['eu-west-1'] });
  expect(session.outputOf(await first.ended).hookSpecificOutput.updatedInput.answers).toEqual({
    [region.question]: 'eu-west-1',
  });
  const second = session.spawn({ ...input, tool_use_id: 't-2' }, { env: old });
  await session.asked();
  second.child.kill('SIGTERM');
  expect(session.outputOf(await second.ended)).toBeUndefined();
  expect(await session.questions('&state=cancelled')).toHaveLength(1);
});

it('says nothing with a token that is not for the agent, and works with one that is', async () => {
  const guarded = await startApp('sqlite', { config: { ROLE: 'all' } });
  onTestFinished(() => guarded.close());
  const there = `http://127.0.0.1:${await listen(guarded.app)}`;
  const tokens = await withTokens(guarded);
  const session = await hostSession('claude', { send: tokens.admin }, there);
  const id = await session.news({ answer: 'Yes.', actor: people.admin });
  expect(await session.fire(batch)).toBeUndefined();
  const other = await tokens.issue({ role: 'agent', runs: session.run_id, agents: 'other' });
  expect(await session.fire(batch, { env: { FORUMBUS_TOKEN: other.token } })).toBeUndefined();
  const own = await tokens.issue({ role: 'agent', runs: session.run_id, agents: 'claude' });
  const told = await session.fire(batch, { env: { FORUMBUS_TOKEN: own.token } });
  expect(told.hookSpecificOutput.additionalContext).toContain(id);
});
