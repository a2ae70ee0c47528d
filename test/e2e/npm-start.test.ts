import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { emptyDatabase } from '../helpers/engines.ts';
import { forThisTest, NODE_COMPILE_CACHE, runCommand, spawnService, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

const root = join(import.meta.dirname, '../..');
const database = async () => (await forThisTest(emptyDatabase('sqlite'))).url;

/** Runs `npm start`, and answers once the service listens. */
async function npmStart() {
  const DATABASE_URL = await database();
  const npm = spawn('npm', ['start'], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NODE_COMPILE_CACHE, PORT: '0', DATABASE_URL },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(npm, 'close');
  const said: string[] = [];
  const service = await new Promise<{ pid: number; port: number }>(resolve => {
    createInterface(npm.stdout).on('line', line => {
      if (!line.startsWith('{')) return;
      const { msg, ...fields } = JSON.parse(line);
      said.push(msg);
      if (msg === 'listening') resolve(fields as { pid: number; port: number });
    });
  });
  onTestFinished(async () => {
    if (existsSync(`/proc/${service.pid}`)) process.kill(service.pid, 'SIGKILL');
    await ended;
  });
  return { npm, ended, said, ...service };
}

describe('npm start', () => {
  it('puts the service in the place of the shell, with the options for its memory', async () => {
    const { npm, ended, said, pid } = await npmStart();
    expect(readFileSync(`/proc/${npm.pid}/task/${npm.pid}/children`, 'utf8').trim()).toBe(String(pid));
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    expect(command).toEqual(expect.arrayContaining(['--max-semi-space-size=16', '--heap-growing-percent=70']));
    process.kill(pid, 'SIGTERM');
    await ended;
    expect(said).toContain('stopped');
  });

  it('ends with its service at the SIGTERM that npm gets', async () => {
    const { npm, ended, said, port } = await npmStart();
    npm.kill('SIGTERM');
    await ended;
    expect(said).toContain('stopped');
    await expect(fetch(`http://127.0.0.1:${port}/livez`)).rejects.toThrow();
  });
});

describe('a running service', () => {
  it('drains at a Ctrl-C that reaches it twice, through npm and from the terminal', async () => {
    const { npm, ended, said, pid } = await npmStart();
    npm.kill('SIGINT');
    process.kill(pid, 'SIGINT');
    await ended;
    expect(said.filter(msg => msg.startsWith('stop'))).toEqual(['stopping', 'stopped']);
  });

  it('goes on at every signal but SIGTERM and SIGINT', async () => {
    const service = await startService({ DATABASE_URL: await database() });
    const others = ['SIGHUP', 'SIGQUIT', 'SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGIO', 'SIGPWR', 'SIGSTKFLT'] as const;
    for (const signal of others) {
      service.kill(signal);
      service.kill(signal);
      expect((await service.send('GET', '/livez')).status).toBe(200);
    }
    service.kill('SIGINT');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(service.logs.find(({ msg }) => msg === 'stopping')).toMatchObject({ signal: 'SIGINT' });
  });

  it('goes on at these while it stops', async () => {
    const service = await startService({ DATABASE_URL: await database() });
    service.kill('SIGTERM');
    for (const signal of ['SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const) service.kill(signal);
    expect(await service.exited).toEqual({ code: 0, signal: null });
  });
});

describe('on a Node that is too old', () => {
  const [major = 0, minor = 0] = packageJson.engines.node.slice(2).split('.').map(Number);
  /** A folder of PATH whose Node is older than the service needs. */
  const folder = (process.env.PATH ?? '').split(delimiter).find(path => {
    const { status, stdout } = spawnSync(join(path, 'node'), ['--version'], { encoding: 'utf8' });
    const [, given = 0, less = 0] = (/^v(\d+)\.(\d+)/.exec(stdout ?? '') ?? []).map(Number);
    return status === 0 && (given < major || (given === major && less < minor));
  });
  const reason = folder ? '' : ' (not run: there is no old Node on PATH)';

  it.runIf(folder)(`npm start, and each command, say which one they need${reason}`, async () => {
    const { path: cwd } = await forThisTest(scratchFolder());
    await mkdir(join(cwd, 'src'));
    await cp(join(root, 'package.json'), join(cwd, 'package.json'));
    await cp(join(root, 'src'), join(cwd, 'src'), { recursive: true });
    for (const script of ['start', 'dev', 'migrate', 'backup', 'restore', 'doctor', 'token'] as const) {
      const command = packageJson.scripts[script];
      const env = { PATH: [folder, '/bin'].join(delimiter) };
      const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', command], {
        cwd,
        env,
        encoding: 'utf8',
        timeout: 10_000,
      });
      expect({ status, stdout }, script).toEqual({ status: 1, stdout: '' });
      expect(stderr, script).toMatch(/^Forumbus needs Node 24\.16 or later, and this is Node \d+\.\d+\.\d+\.\n$/);
    }
  });
});

describe('--help and --version', () => {
  const commands = ['migrate', 'backup', 'restore', 'doctor', 'token'];

  it.each([['service', 'main.ts'], ...commands.map(name => [name, `commands/${name}.ts`])])(
    'are answered by the %s, whatever the settings',
    async (_name, file) => {
      const run = async (...args: string[]) => {
        const process = spawnService({ PORT: 'wrong', DATABASE_URL: 'wrong' }, { file: file as string, args });
        expect(await process.exited, process.output).toEqual({ code: 0, signal: null });
        expect(process.stderr).toBe('');
        return process.strays.join('\n');
      };
      expect(await run('--help')).toMatch(/^Usage: npm (start|run \w+)[\s\S]*\n\n.+\.$/);
      expect(await run('--version')).toBe(packageJson.version);
    },
  );

  it('nothing else is taken by the service and by migrate', async () => {
    const service = spawnService({ DATABASE_URL: await database() }, { args: ['--port', '1'] });
    expect(await service.exited).toEqual({ code: 1, signal: null });
    expect(service.logs.at(-1)?.msg).toMatch(/^Unknown option '--port'\. Usage: npm start$/);
    expect(await runCommand('migrate', ['now'], { DATABASE_URL: await database() })).toMatchObject({ code: 1 });
  });
});
