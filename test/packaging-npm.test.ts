import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { commands } from '../src/cli/commands.ts';
import { startApp } from './helpers/app.ts';
import { spawnCli } from './helpers/cli.ts';
import { copyPackageSource } from './helpers/package-source.ts';
import { freePort } from './helpers/ports.ts';
import { NODE_COMPILE_CACHE, send } from './helpers/process.ts';
import { scratchFolder } from './helpers/scratch.ts';
import { listen } from './helpers/socket.ts';

/*
 * The package as users get it: packed as npm packs it, unpacked as npm unpacks it, in an empty folder. Only its own
 * dependencies are there, as links to those of the clone, so that no registry is needed.
 */

const root = join(import.meta.dirname, '..');
let folder: string;
let bin: string;
let state: string;
const program = () => join(folder, 'node_modules', 'forumbus', 'dist', 'src', 'cli', 'main.js');

const env = (more: Record<string, string> = {}) => ({
  PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
  HOME: folder,
  XDG_STATE_HOME: state,
  NODE_COMPILE_CACHE,
  MAX_EVENT_LOOP_DELAY_MS: '0',
  ...more,
});

function must(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, npm_config_update_notifier: 'false' },
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ends with ${status}:\n${stdout}\n${stderr}`);
  return stdout;
}

beforeAll(async () => {
  const { path, drop } = await scratchFolder();
  const source = join(path, 'source');
  await copyPackageSource(source);
  must('npm', ['pack', '--pack-destination', path], source);

  folder = join(path, 'app');
  state = join(path, 'state');
  bin = join(folder, 'node_modules', '.bin');
  const installed = join(folder, 'node_modules', 'forumbus');
  await Promise.all([mkdir(installed, { recursive: true }), mkdir(bin, { recursive: true })]);
  must(
    'tar',
    ['xzf', join(path, `forumbus-${packageJson.version}.tgz`), '-C', installed, '--strip-components=1'],
    path,
  );
  for (const name of Object.keys(packageJson.dependencies)) {
    const place = join(folder, 'node_modules', name);
    await mkdir(dirname(place), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), place);
  }
  // As npm links and marks the program.
  const [[name, file] = []] = Object.entries(packageJson.bin);
  symlinkSync(join('..', 'forumbus', file as string), join(bin, name as string));
  chmodSync(join(installed, file as string), 0o755);
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  return drop;
}, 180_000);

/** The first Node on the PATH that runs the client but not the service. */
const oldNode = (process.env.PATH ?? '')
  .split(delimiter)
  .map(place => join(place, 'node'))
  .filter(existsSync)
  .find(node => {
    const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout;
    const [, major = 0, minor = 0] = /^v(\d+)\.(\d+)/.exec(version)?.map(Number) ?? [];
    return major >= 20 && (major < 24 || (major === 24 && minor < 16));
  });
const without = oldNode ? '' : ' (there is no Node from 20 to 24.15 on the PATH)';

describe.skipIf(!oldNode)(`on an older Node${without}`, () => {
  const old = [oldNode as string];
  /** Runs a command on the old Node to its end. */
  const run = (args: string[], more: Record<string, string>) =>
    spawnCli(args, { env: env(more), cwd: folder }, [...old, program()]).ended;

  it('every command of agents and people works', async () => {
    const service = await startApp('sqlite', { config: { ROLE: 'all' } });
    onTestFinished(service.close);
    const url = `http://127.0.0.1:${await listen(service.app)}`;
    // As an agent's host needs it: it finds the program of the hooks on the PATH.
    const PATH = `${bin}${delimiter}${process.env.PATH}`;
    const agent = { FORUMBUS_URL: url, FORUMBUS_RUN: 'run-1', FORUMBUS_AGENT: 'builder', PATH };
    const person = { FORUMBUS_URL: url };
    const region = ['ask', 'Which region?', '-o', 'eu', '-o', 'us', '--wait', '20s'];
    const asking = spawnCli(region, { env: env(agent), cwd: folder }, [...old, program()]);
    await expect
      .poll(() => run(['inbox'], person), { timeout: 20_000 })
      .toMatchObject({ out: expect.stringMatching(/^1 {2}builder in run-1/) });
    expect(await run(['answer', '1', '2'], person)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Answered q_\w+ "Which region\?": us$/),
      err: '',
    });
    expect(await asking.ended).toEqual({ code: 0, out: 'us', err: '' });
    expect(await run(region, agent)).toEqual({ code: 0, out: 'us', err: '' });
    const [{ question_id }] = (await service.send('GET', '/questions')).body.items;
    const steps: [string[], object][] = [
      [['wait', question_id], { code: 0, out: 'us' }],
      [['note', 'Deployed.'], { code: 0, out: 'Noted.' }],
      [['inbox'], { code: 0, out: 'No news.' }],
      [['complete', 'Done.', '-e', 'commit:4f2a91c'], { code: 0, out: 'Completed.' }],
      [['gate'], { code: 75 }],
      [['validate', 'passed', '--criteria', 'Green.'], { code: 0, out: 'Validated.' }],
      [['gate'], { code: 0, out: 'ready' }],
      [['run', 'export', 'run-1'], { code: 0 }],
      [['status'], { code: 0 }],
      [['open', '--print'], { code: 0, out: `${url}/` }],
      [['notify', 'list'], { code: 0, out: 'There are no webhooks.' }],
      [['completion', 'bash'], { code: 0 }],
      [['install', 'claude', '--project'], { code: 0 }],
      [['hook', 'claude'], { code: 0, out: '' }],
      [['uninstall', 'claude', '--project'], { code: 0 }],
      [['down'], { code: 0 }],
      [['--version'], { code: 0, out: packageJson.version }],
      [['--help'], { code: 0 }],
    ];
    for (const [args, said] of steps)
      expect(await run(args, agent), args.join(' ')).toMatchObject({ err: '', ...said });
    const tried = new Set(['ask', 'answer', 'watch', ...steps.map(([[name]]) => name)]);
    const { child: watch } = spawnCli(['watch'], { env: env(agent), cwd: folder }, [...old, program()]);
    const asked = run(['ask', 'And now?', '--wait', '0'], agent);
    for await (const line of createInterface(watch.stdout)) {
      expect(line).toContain('And now?');
      break;
    }
    expect(await asked).toMatchObject({ code: 75 });
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } };
    const mcp = spawn(oldNode as string, [program(), 'mcp'], { env: env(agent), cwd: folder });
    mcp.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params })}\n`);
    for await (const line of createInterface(mcp.stdout)) {
      expect(JSON.parse(line)).toMatchObject({ id: 1, result: { serverInfo: { name: 'forumbus' } } });
      mcp.stdin.end();
    }
    tried.add('mcp');
    expect(commands.map(({ name }) => name).filter(name => !tried.has(name) && !SERVICE.includes(name))).toEqual([]);
  }, 180_000);

  const SERVICE = ['serve', 'up', 'token', 'backup', 'restore', 'import', 'compact', 'doctor', 'migrate', 'handler'];
  it('the service and its commands say which Node they need', async () => {
    for (const name of SERVICE) {
      expect(await run([name], {}), name).toEqual({
        code: 1,
        out: '',
        err: expect.stringMatching(/^Forumbus needs Node 24\.\d+ or later, and this is Node 2\d\.\d+\.\d+\.$/),
      });
    }
  }, 60_000);

  it('every module can be imported, without the frameworks of the adapters', async () => {
    const adapters = readdirSync(join(root, 'src', 'adapters')).map(file => `adapters/${file.replace(/\.ts$/, '')}`);
    const names = ['forumbus', ...['client', 'handler', ...adapters].map(name => `forumbus/${name}`)];
    const script = `const names = ${JSON.stringify(names)};
      const exported = names.map(async name => [name, Object.keys(await import(name))]);
      console.log(JSON.stringify(Object.fromEntries(await Promise.all(exported))));`;
    await writeFile(join(folder, 'imports.js'), script);
    const { out, err } = await spawnCli([], { env: {}, cwd: folder }, [...old, join(folder, 'imports.js')]).ended;
    expect(err).toBe('');
    expect(JSON.parse(out)).toMatchObject({
      'forumbus/client': expect.arrayContaining(['Forumbus', 'ForumbusError', 'verifyWebhook']),
      'forumbus/handler': ['defineHandler'],
      'forumbus/adapters/ai-sdk': ['answerApprovals', 'toolApproval'],
      'forumbus/adapters/claude-agent-sdk': ['canUseTool'],
      'forumbus/adapters/langgraph': ['answerInterrupts'],
      'forumbus/adapters/openai-agents': ['decideInterruptions'],
      'forumbus/adapters/question': expect.arrayContaining(['askOnce']),
      'forumbus/adapters/approval': expect.arrayContaining(['askApproval', 'jsonOf']),
    });
  }, 60_000);

  it('the client works as a library', async () => {
    const service = await startApp('sqlite');
    onTestFinished(service.close);
    const url = `http://127.0.0.1:${await listen(service.app)}`;
    const script = `import { Forumbus } from 'forumbus/client';
      const agent = new Forumbus({ url: '${url}', run_id: 'run-1', agent_name: 'builder' });
      const asking = agent.ask({ question: 'Which region?', options: ['eu', 'us'] });
      for await (const { event_type, payload } of agent.events({ event_type: 'forum.question.opened' })) {
        await new Forumbus({ url: '${url}' }).answer(payload.question_id, { selected: ['eu'] });
        break;
      }
      console.log((await asking).answer);`;
    await writeFile(join(folder, 'agent.js'), script);
    const said = await spawnCli([], { env: {}, cwd: folder }, [...old, join(folder, 'agent.js')]).ended;
    expect(said).toEqual({ code: 0, out: 'eu', err: '' });
  }, 60_000);
});

describe('on the Node of the service', () => {
  const run = (args: string[], more: Record<string, string> = {}) =>
    spawnCli(args, { env: env(more), cwd: folder }, [process.execPath, program()]).ended;

  it('starts it in the background and runs the commands of operators on its database', async () => {
    const more = { PORT: String(await freePort()) };
    const at = { ...more, FORUMBUS_URL: `http://127.0.0.1:${more.PORT}` };
    expect(await run(['up'], more)).toMatchObject({ code: 0 });
    onTestFinished(async () => void (await run(['down'], more)));
    expect(await run(['status'], at)).toMatchObject({ code: 0, err: '' });
    expect(await run(['open'], at)).toMatchObject({ code: 0, out: `${at.FORUMBUS_URL}/` });
    const page = await (await fetch(`${at.FORUMBUS_URL}/`, { headers: { accept: 'text/html' } })).text();
    const files = [...page.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, path]) => path as string);
    expect(files.filter(path => path.endsWith('.ts'))).toEqual([]);
    for (const path of files) expect((await fetch(new URL(path, `${at.FORUMBUS_URL}/`))).status, path).toBe(200);
    expect(await run(['token', 'list'])).toEqual({ code: 0, out: '', err: '' });
    expect((await run(['token'])).out).toContain('Usage: forumbus token create');
    expect(await run(['doctor'])).toMatchObject({ code: 0, out: expect.stringContaining('The schema is up to date.') });
    expect(await run(['backup', join(folder, 'backup.db')])).toMatchObject({ code: 0 });
    expect((await run(['restore', join(folder, 'backup.db')])).code).toBe(1);
    await writeFile(
      join(folder, 'chat.ts'),
      `import { defineHandler } from 'forumbus/handler';
      export default defineHandler({ topic: 'forum.events.question.opened', handle({ payload }, { record }) { record({ asked: payload.payload.question as string }); } });`,
    );
    expect(await run(['handler', 'test', 'chat.ts', '--event', 'forum.question.opened'])).toMatchObject({
      code: 0,
      out: expect.stringContaining('Which region?'),
    });
    expect(await run(['down'], more)).toMatchObject({ code: 0, out: 'Stopped.' });
    expect(await run(['restore', join(folder, 'backup.db'), '--replace'])).toMatchObject({ code: 0 });
    expect(await run(['migrate'])).toMatchObject({ code: 0 });
  }, 120_000);

  /** `npx forumbus` on a port, once it listens. Its log goes on in `lines`. */
  async function npxForumbus(more: Record<string, string>) {
    const npx = spawn('npx', ['forumbus'], {
      cwd: folder,
      env: env({ npm_config_update_notifier: 'false', LOG_LEVEL: 'info', ...more }),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines: { msg: string; pid: number; req?: { method: string; url: string } }[] = [];
    const pid = await new Promise<number>(resolve => {
      createInterface(npx.stdout).on('line', line => {
        if (!line.startsWith('{')) return;
        lines.push(JSON.parse(line));
        if (lines.at(-1)?.msg === 'listening') resolve(JSON.parse(line).pid);
      });
    });
    onTestFinished(() => {
      if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
    });
    return { npx, pid, lines };
  }

  it('runs it by npx with the memory of npm start, and stops it when npx is told to', async () => {
    const { npx, pid } = await npxForumbus({ PORT: String(await freePort()) });
    const start = packageJson.scripts.start.split(' ');
    const partsOf = (file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8').split('\0');
    expect(partsOf('cmdline')).toEqual(expect.arrayContaining(start.filter(word => /^--.*=/.test(word))));
    expect(partsOf('environ')).toEqual(expect.arrayContaining(start.filter(word => /^[A-Z]\w+=/.test(word))));
    npx.kill('SIGTERM');
    await once(npx, 'exit');
    await expect.poll(() => existsSync(`/proc/${pid}`)).toBe(false);
  }, 60_000);

  it('asks once and is answered once, by a command that is killed twice and repeated', async () => {
    const port = await freePort();
    const at = { FORUMBUS_URL: `http://127.0.0.1:${port}`, XDG_STATE_HOME: join(folder, 'ten-lines') };
    const { lines } = await npxForumbus({ ...at, PORT: String(port) });
    const waits = () =>
      lines.filter(({ msg, req }) => msg === 'incoming request' && req?.url.includes('?wait=')).length;
    const command = ['ask', 'Which region?', '-o', 'eu-west-1', '-o', 'us-east-1', '--wait', '20s'];
    const shell = (args: string[]) => spawnCli(args, { env: env(at), cwd: folder }, [join(bin, 'forumbus')]);
    for (const times of [1, 2]) {
      const { child, ended } = shell(command);
      await expect.poll(waits, { timeout: 30_000 }).toBe(times);
      child.kill('SIGKILL');
      expect(await ended).toMatchObject({ out: '' });
    }
    const third = shell(command);
    await expect.poll(waits, { timeout: 30_000 }).toBe(3);
    // Another shell. Its inbox has the question once.
    const { out: inbox } = await shell(['inbox']).ended;
    expect(inbox).toMatch(/^1 {2}agent in \S+, \d+m: Which region\? {2}\[eu-west-1 \| us-east-1\]$/);
    expect((await shell(['answer', '1', 'eu-west-1']).ended).out).toMatch(
      /^Answered q_\w+ "Which region\?": eu-west-1$/,
    );
    const said = await third.ended;
    expect(said).toEqual({ code: 0, out: 'eu-west-1', err: '' });
    // Four characters a token.
    expect(said.out.length / 4).toBeLessThanOrEqual(40);
    expect(await shell(command).ended).toEqual(said);
    const get = async (path: string) => (await send(at.FORUMBUS_URL, 'GET', path)).body.items;
    expect(await get('/questions')).toMatchObject([
      { state: 'answered', answer: 'eu-west-1', acknowledged_at: expect.any(String) },
    ]);
    expect(await get('/events?event_type=forum.question.answered')).toHaveLength(1);
    expect((await shell(['inbox', '--agent', 'agent']).ended).out).toBe('No news.');
  }, 120_000);

  it('has types for programs with and without Node', async () => {
    await writeFile(
      join(folder, 'consumer.ts'),
      `import { Forumbus, ForumbusError, type Question } from 'forumbus/client';
      import { defineHandler } from 'forumbus/handler';
      const client = new Forumbus({ url: 'http://127.0.0.1:4010' });
      export const question: Question = await client.ask({ question: 'A?', options: ['a', { label: 'b' }] });
      export const state: 'open' | 'answered' | 'expired' | 'cancelled' | 'superseded' = question.state;
      // @ts-expect-error: there is no such field
      await client.ask({ quest: 'A?' });
      export const handler = defineHandler({
        topic: 'forum.events.question.opened',
        handle: ({ payload }) => { const text: string | undefined = payload.payload.question; return text; },
      });
      export { ForumbusError };`,
    );
    const tsc = join(root, 'node_modules', '.bin', 'tsc');
    const common = ['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022', 'consumer.ts'];
    must(tsc, ['--module', 'nodenext', '--types', '', ...common], folder);
    must(tsc, ['--module', 'esnext', '--moduleResolution', 'bundler', '--lib', 'es2024,dom', ...common], folder);
  }, 120_000);

  it('names the frameworks of its adapters, and installs none of them', () => {
    const { dependencies, peerDependencies, peerDependenciesMeta } = packageJson;
    const texts = readdirSync(join(root, 'src', 'adapters')).map(file =>
      readFileSync(join(root, 'src', 'adapters', file), 'utf8'),
    );
    const imported = texts.flatMap(text =>
      [...text.matchAll(/from '((?:@[\w-]+\/)?[\w-]+)[^']*'/g)].map(([, name]) => name),
    );
    // Any version: who has another one for another purpose can still install the package.
    expect(peerDependencies).toEqual(Object.fromEntries(imported.map(name => [name, '*'])));
    expect(peerDependenciesMeta).toEqual(Object.fromEntries(imported.map(name => [name, { optional: true }])));
    expect(Object.keys(dependencies).filter(name => name in peerDependencies)).toEqual([]);
  });

  it('contains what it needs and nothing else', () => {
    const top = readdirSync(join(folder, 'node_modules', 'forumbus'));
    expect(top.sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'package.json', 'plugin']);
  });
});
