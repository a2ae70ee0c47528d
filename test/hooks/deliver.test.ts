import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { cliMain } from '../helpers/cli.ts';
import { type HostSession, hostSession } from '../helpers/hooks.ts';
import { NODE_COMPILE_CACHE } from '../helpers/process.ts';
import { listen } from '../helpers/socket.ts';

let service: TestApp;
let port: number;
let session: HostSession;

beforeAll(async () => {
  service = await startApp('sqlite', { config: { ROLE: 'all' } });
  port = await listen(service.app);
  return () => service.close();
});
beforeEach(async () => {
  session = await hostSession('claude', service, `http://127.0.0.1:${port}`, { CLAUDE_CODE_ENTRYPOINT: 'cli' });
});

const batch = { hook_event_name: 'PostToolBatch' };

it('lets one of several hooks at once show an item', async () => {
  const ids = [await session.news(), await session.news('No.')];
  const hooks = Array.from({ length: 4 }, () => session.spawn(batch));
  const outs = (await Promise.all(hooks.map(({ ended }) => ended))).map(session.outputOf);
  const shown = outs.flatMap(out => (out ? [out.hookSpecificOutput.additionalContext] : [])).join('\n');
  for (const id of ids) expect(shown.split(`Answer to ${id} by`)).toHaveLength(2);
  expect(await session.inbox()).toEqual([]);
});

it('shows again what a killed hook has claimed', async () => {
  const id = await session.news();
  // The answer to the claim does not arrive, so the hook is killed between claim and output.
  let killed: (() => void) | undefined;
  const between = createServer((received, answer) => {
    const { method, url, headers } = received;
    const passed = request({ port, host: '127.0.0.1', method, path: url, headers }, response => {
      if (url?.endsWith('/claim')) killed?.();
      else response.pipe(answer.writeHead(response.statusCode ?? 0, response.headers));
    });
    received.pipe(passed);
  });
  between.listen(0, '127.0.0.1');
  await once(between, 'listening');
  onTestFinished(() => {
    between.closeAllConnections();
    between.close();
  });
  const env = { FORUMBUS_URL: `http://127.0.0.1:${(between.address() as AddressInfo).port}` };
  const { child, ended } = session.spawn(batch, { env });
  killed = () => child.kill('SIGKILL');
  expect(await ended).toMatchObject({ code: null, out: '' });
  expect(await session.inbox()).toMatchObject([{ claimed_until: expect.any(String) }]);
  expect(await session.fire(batch)).toBeUndefined();
  // Answers as soon as the lease has ended.
  await service.send('GET', `/control-threads/${session.run_id}/claude/inbox?wait=20`);
  expect((await session.fire(batch)).hookSpecificOutput.additionalContext).toContain(`Answer to ${id} by ana: Yes.`);
});

it('keeps what a host has not read', async () => {
  const id = await session.news();
  const { env, cwd } = session.place;
  const hook = spawn(process.execPath, [cliMain, 'hook', 'claude'], { cwd, env: { ...env, NODE_COMPILE_CACHE } });
  onTestFinished(() => void hook.kill('SIGKILL'));
  hook.stdout.destroy();
  hook.stdin.end(JSON.stringify({ session_id: 's-1', ...batch }));
  await once(hook, 'exit');
  expect(await session.inbox()).toMatchObject([{ question: { question_id: id } }]);
});

it('tells what one output has no room for with the next event, and cuts nothing off', async () => {
  const [letters, { length: HOST_LIMIT }] = ['x'.repeat(4900), 'x'.repeat(10_000)];
  const ids = [await session.news(letters), await session.news(letters), await session.news('x'.repeat(16_000))];
  const thread = `/threads/${(await session.questions())[0].thread_id}/posts`;
  const said = async (body: string) => service.send('POST', thread, { body, actor: { type: 'human', name: 'ana' } });
  await said(`${'x'.repeat(9500)} Do not deploy.`);
  await said('One more.');
  await said('And another.');
  const told: string[] = [];
  for (const hook_event_name of ['UserPromptSubmit', 'PostToolBatch', 'Stop', 'UserPromptSubmit', 'PostToolBatch']) {
    told.push((await session.fire({ hook_event_name })).hookSpecificOutput.additionalContext);
  }
  const answer = (id: string | undefined) => expect.stringMatching(new RegExp(`^Answer to ${id} by ana: x+ \\(.*\\)$`));
  expect(told).toEqual([
    ...ids.map(answer),
    expect.stringMatching(/^Message from ana: x+ Do not deploy\.$/),
    'Message from ana: One more.\nMessage from ana: And another.',
  ]);
  expect(told.map(text => text.length > HOST_LIMIT)).toEqual([false, false, true, false, false]);
  expect(await session.inbox()).toEqual([]);
});
