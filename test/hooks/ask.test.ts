import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { cliMain } from '../helpers/cli.ts';
import { scratchDatabase } from '../helpers/engines.ts';
import { type HostSession, hostSession, region } from '../helpers/hooks.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest, NODE_COMPILE_CACHE, startService } from '../helpers/process.ts';
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

const tool_input = { questions: [region] };
const permission = { hook_event_name: 'PermissionRequest', prompt_id: 'p-1', tool_name: 'AskUserQuestion', tool_input };

it('withdraws its question within a second when the host ends it', async () => {
  const { child, ended } = session.spawn(permission);
  await session.asked();
  child.kill('SIGTERM');
  const from = performance.now();
  expect(await ended).toEqual({ code: 0, out: '', err: '' });
  expect(performance.now() - from).toBeLessThan(1300);
  expect(await session.questions()).toMatchObject([{ state: 'cancelled', acknowledged_at: expect.any(String) }]);
  // The agent knows that the person has interrupted it.
  expect(await session.fire({ hook_event_name: 'UserPromptSubmit', prompt: 'Go on.' })).toBeUndefined();
});

it('goes on waiting for the question of a killed hook, and asks it once', async () => {
  const first = session.spawn(permission);
  const { question_id } = await session.asked();
  first.child.kill('SIGKILL');
  await first.ended;
  const second = session.fire(permission);
  await session.answer(question_id, { selected: ['eu-west-1'] });
  expect((await second).hookSpecificOutput.decision.updatedInput.answers).toEqual({ 'Which region?': 'eu-west-1' });
  expect(await session.questions()).toHaveLength(1);
});

it.each([
  ['', []],
  // The shell outlives the host, and would keep its child from noticing.
  [' that has started it by a shell', ['/bin/sh', '-c', '"$0" "$@"; exit $?']],
])('leaves its question open when a host%s dies, and the answer to the next session', async (_by, shell) => {
  // A host that dies leaves the hook to another parent, and reads no output.
  const { place } = session;
  const script = `const [file, ...args] = process.argv.slice(1); require('node:child_process').spawn(file, args, {
    stdio: ['pipe', 'ignore', 'inherit'], detached: true }).stdin.end(${JSON.stringify(JSON.stringify({ session_id: 's-1', ...permission }))});`;
  const host = spawn(process.execPath, ['-e', script, '--', ...shell, process.execPath, cliMain, 'hook', 'claude'], {
    cwd: place.cwd,
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE, ...place.env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  onTestFinished(() => void host.kill('SIGKILL'));
  const { question_id } = await session.asked();
  host.kill('SIGKILL');
  // Its hook holds the pipe until it has ended.
  host.stderr.resume();
  await once(host.stderr, 'close');
  await session.answer(question_id, { selected: ['eu-west-1'] });
  const told = await session.fire({ hook_event_name: 'SessionStart', source: 'resume' });
  expect(told.hookSpecificOutput.additionalContext).toContain(`Answer to ${question_id} by ana: eu-west-1`);
});

it('leaves a question alone that a command of the session has asked in the same words', async () => {
  const source = { host: 'claude', session_id: 's-1', cwd: session.folder };
  const asked = await session.ask(region.question, { source });
  const second = session.spawn({ ...permission, hook_event_name: 'PermissionRequest', tool_use_id: 'toolu_2' });
  await expect.poll(() => session.questions('&state=open'), { timeout: 20_000 }).toHaveLength(2);
  const tool_response = { answers: { 'Which region?': 'us-east-1' }, annotations: {} };
  await session.fire({ ...permission, hook_event_name: 'PostToolUse', tool_use_id: 'toolu_2', tool_response });
  await second.ended;
  expect(await session.questions('&state=open')).toMatchObject([{ question_id: asked }]);
});

it('finds the question of a resumed call whose folder has another name now', async () => {
  const call = { ...permission, hook_event_name: 'PreToolUse', tool_use_id: 'toolu_1' };
  const env = { CLAUDE_CODE_ENTRYPOINT: 'sdk-cli', FORUMBUS_PARK: '1' };
  await session.fire(call, { env });
  const { question_id } = await session.asked();
  await session.answer(question_id, { selected: ['us-east-1'] });
  expect(await session.fire({ ...call, cwd: '/elsewhere' }, { env })).toMatchObject({
    hookSpecificOutput: { updatedInput: { answers: { 'Which region?': 'us-east-1' } } },
  });
  expect(await session.questions()).toHaveLength(1);
});

it('goes on through a restart of the service', async () => {
  const scratch = await forThisTest(scratchDatabase('sqlite'));
  const env = { DATABASE_URL: scratch.url, PORT: String(await freePort()) };
  let running = await startService(env);
  const own: Pick<TestApp, 'send'> = { send: (...request) => running.send(...request) };
  const restarted = await hostSession('claude', own, await running.listening(), { CLAUDE_CODE_ENTRYPOINT: 'cli' });
  const asking = restarted.spawn(permission);
  const { question_id } = await restarted.asked();
  running.kill('SIGKILL');
  await running.exited;
  running = await startService(env);
  await restarted.answer(question_id, { selected: ['eu-west-1'] });
  const { hookSpecificOutput } = restarted.outputOf(await asking.ended);
  expect(hookSpecificOutput.decision.behavior).toBe('allow');
});
