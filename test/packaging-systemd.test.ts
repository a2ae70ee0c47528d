import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it, onTestFinished } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { settings } from '../src/config.ts';
import { forThisTest, NODE_COMPILE_CACHE } from './helpers/process.ts';
import { missing } from './helpers/proxies.ts';
import { scratchFolder } from './helpers/scratch.ts';

/*
 * operations/forumbus.service, as systemd reads it, and its command as systemd would start and stop it. No systemd runs
 * here that could start the unit itself.
 */

const root = join(import.meta.dirname, '..');
const unit = await readFile(join(root, 'operations/forumbus.service'), 'utf8');
const HOME = '/opt/forumbus';
const reason = missing(['systemd-analyze', '--version']);

/** The values of a directive, in their order. */
const all = (name: string) => [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value = '']) => value);
function only(name: string): string {
  const [value, ...more] = all(name);
  if (value === undefined || more.length > 0) throw new Error(`The unit should have one ${name}.`);
  return value;
}

async function analyze(args: string[], text: string) {
  const { path } = await forThisTest(scratchFolder());
  const file = join(path, 'forumbus.service');
  await writeFile(file, text);
  const { status, stdout, stderr } = spawnSync('systemd-analyze', [...args, file], { encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

it.runIf(reason === '')(`systemd finds no fault${reason}`, async () => {
  const installed = unit.replaceAll(HOME, root);
  const verify = (text: string) => analyze(['verify', '--man=no'], text);
  expect(await verify(installed)).toEqual({ status: 0, said: '' });
  // It would say so.
  expect((await verify(installed.replace('TimeoutStopSec=20', 'TimeoutStopSec=soon'))).said).toContain(
    'Failed to parse time value',
  );
  expect((await verify(unit)).status).not.toBe(0);
});

it.runIf(reason === '')(`the sandbox leaves little open${reason}`, async () => {
  // From 0 (nothing is exposed) to 10; systemd calls up to 2.0 safe.
  const judged = await analyze(['security', '--offline=true', '--threshold=20', '--no-pager'], unit);
  expect(judged.status, judged.said).toBe(0);
});

it('starts the service as npm start does, in its own folder, with its database in the state folder', async () => {
  const [program = '', ...args] = only('ExecStart').split(' ');
  expect(program).toBe(`${only('WorkingDirectory')}/node_modules/.bin/node`);
  expect(only('WorkingDirectory')).toBe(HOME);
  const environment = Object.fromEntries(
    only('Environment')
      .split(' ')
      .map(pair => pair.split(/=(.*)/s)),
  );
  const start = `exec env MALLOC_ARENA_MAX=${environment.MALLOC_ARENA_MAX} node`;
  expect([start, ...args].join(' ')).toBe(packageJson.scripts.start);
  const state = `/var/lib/${only('StateDirectory')}`;
  expect(environment.DATABASE_URL).toBe(`sqlite:${state}/forumbus.db`);

  const { path } = await forThisTest(scratchFolder());
  const service = spawn(program.replace(HOME, root), args, {
    cwd: root,
    env: {
      NODE_COMPILE_CACHE,
      ...environment,
      DATABASE_URL: environment.DATABASE_URL?.replace(state, path),
      PORT: '0',
    } as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(service, 'exit');
  onTestFinished(async () => {
    service.kill('SIGKILL');
    await exited;
  });
  for await (const line of createInterface(service.stdout)) if (JSON.parse(line).msg === 'listening') break;
  service.stdout.resume();
  service.kill(only('KillSignal') as NodeJS.Signals);
  expect(await exited).toEqual([0, null]);
}, 60_000);

it('leaves time for the shutdown, and keeps its files to itself', () => {
  const grace = Number(settings.find(({ name }) => name === 'SHUTDOWN_GRACE_MS')?.default);
  expect(Number(only('TimeoutStopSec')) * 1000).toBeGreaterThan(grace + 2000);
  expect(only('UMask')).toBe('0077');
  expect(only('StateDirectoryMode')).toBe('0700');
  expect(only('User')).not.toBe('root');
});
