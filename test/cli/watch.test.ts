import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, it, onTestFinished } from 'vitest';
import { Forumbus } from '../../src/client/index.ts';
import { startApp } from '../helpers/app.ts';
import { cliMain, spawnCli } from '../helpers/cli.ts';
import { forThisTest, NODE_COMPILE_CACHE } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { listen } from '../helpers/socket.ts';

async function started() {
  const service = await startApp('sqlite');
  onTestFinished(service.close);
  const url = `http://127.0.0.1:${await listen(service.app)}`;
  const { path } = await forThisTest(scratchFolder());
  const env = { XDG_STATE_HOME: path, FORUMBUS_URL: url, FORUMBUS_RUN: 'run-1', TERM: 'xterm' };
  const agent = new Forumbus({ url, run_id: 'run-1', agent_name: 'builder' });
  return { env, cwd: path, url, agent };
}

it('prints a line for each question that opens or ends, where there is no terminal', async () => {
  const { agent, url, ...place } = await started();
  const { question_id } = await agent.ask({ question: 'Which\nregion?', options: ['eu', 'us'] }, { wait_seconds: 0 });
  const { child } = spawnCli(['watch'], place);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value;
  expect(await next()).toBe(`${question_id}  builder in run-1, 0m: Which\\nregion?  [eu | us]`);
  await new Forumbus({ url }).answer(question_id, { selected: ['us'] });
  expect(await next()).toBe(`${question_id}  us`);
  const two = await agent.ask({ question: 'Both?', approvals: 2 }, { wait_seconds: 0 });
  expect(await next()).toContain('(0 of 2: two people must give the same answer)');
  await new Forumbus({ url }).answer(two.question_id, { answer: 'Yes.' });
  expect(await next()).toContain('(1 of 2: operator answered “Yes.”; another person must give the same answer)');
  await agent.ask({ question: 'And now?', priority: 'urgent' }, { wait_seconds: 0 });
  expect(await next()).toMatch(/^q_\w+ {2}urgent {2}builder in run-1, 0m: And now\?$/);
});

const hasScript = spawnSync('script', ['--version']).status === 0;

it.skipIf(!hasScript)(
  `in a terminal, answers by number${hasScript ? '' : ' (script of util-linux is not installed)'}`,
  async () => {
    const { agent, env, cwd } = await started();
    const asking = agent.ask({ question: 'Which \x1b[31mregion?', options: ['eu', 'us'] });
    const script = spawn('script', ['-qec', `exec '${process.execPath}' '${cliMain}' watch`, '/dev/null'], {
      cwd,
      env: { PATH: process.env.PATH, SHELL: '/bin/sh', NODE_COMPILE_CACHE, ...env },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const closed = once(script, 'close');
    onTestFinished(async () => {
      script.kill('SIGKILL');
      await closed;
    });
    let shown = '';
    script.stdout.setEncoding('utf8').on('data', text => {
      shown += text;
    });
    await expect.poll(() => shown).toContain('1  builder in run-1, 0m: Which \\u{1b}[31mregion?  [eu | us]');
    script.stdin.write('9 eu\r');
    await expect.poll(() => shown).toContain('Begin with the number of a question');
    await agent.ask({ question: 'And now?', priority: 'urgent' }, { wait_seconds: 0 });
    await expect.poll(() => shown).toContain('2  urgent  builder in run-1, 0m: And now?');
    script.stdin.write('1 us\r');
    expect(await asking).toMatchObject({ selected: ['us'], answered_in: 'cli' });
    await expect.poll(() => shown).toContain('Answered "Which \\u{1b}[31mregion?": us');
    script.stdin.write('2 Go on.\r');
    await expect.poll(() => shown.slice(shown.lastIndexOf('\x1b[2J'))).toContain('No open questions.');
    script.stdin.write('q\r');
    expect(await closed).toEqual([0, null]);
  },
);
