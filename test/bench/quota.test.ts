import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { makeQuota, type Quota, quotaHint } from './quota.ts';

/** 200 ms of CPU; says how long that took. Milliseconds. */
const BUSY = `
  process.once('message', () => {
    const [began, until] = [performance.now(), process.cpuUsage().user + 200_000];
    while (process.cpuUsage().user < until) for (let number = 0; number < 1e5; number += 1) Math.sqrt(number);
    process.send(performance.now() - began);
  });
  process.send('ready');
`;

it('writes share, period and process into a group of version 1', async () => {
  const { path } = await forThisTest(scratchFolder());
  mkdirSync(join(path, 'cpu'));
  const quota = makeQuota(0.25, path) as Quota;
  quota.hold(1234);
  expect(quota.folder.startsWith(join(path, 'cpu', 'forumbus-bench-'))).toBe(true);
  expect(read(quota, 'cpu.cfs_period_us')).toBe('20000');
  expect(read(quota, 'cpu.cfs_quota_us')).toBe('5000');
  expect(read(quota, 'cgroup.procs')).toBe('1234');
});

it('writes them into a group of version 2, for which it asks for the controller', async () => {
  const { path } = await forThisTest(scratchFolder());
  writeFileSync(join(path, 'cgroup.controllers'), 'cpuset cpu io\n');
  writeFileSync(join(path, 'cgroup.subtree_control'), 'cpuset\n');
  const quota = makeQuota(0.5, path) as Quota;
  quota.hold(1234);
  expect(read(quota, 'cpu.max')).toBe('10000 20000');
  expect(read(quota, 'cgroup.procs')).toBe('1234');
  expect(readFileSync(join(path, 'cgroup.subtree_control'), 'utf8')).toBe('cpuset\n+cpu');
});

it('makes none where there are no groups, or none with a controller of the CPU', async () => {
  const { path } = await forThisTest(scratchFolder());
  expect(makeQuota(0.25, path)).toBeUndefined();
  expect(makeQuota(0.25, join(path, 'nowhere'))).toBeUndefined();
  writeFileSync(join(path, 'cgroup.controllers'), 'cpuset io\n');
  expect(makeQuota(0.25, path)).toBeUndefined();
});

it('holds a process to its share, and removes the group once the process is gone', async context => {
  const quota = makeQuota(0.25);
  if (!quota) return context.skip(quotaHint);
  onTestFinished(() => quota.remove());
  const busy = spawn(process.execPath, ['-e', BUSY], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  onTestFinished(() => void busy.kill('SIGKILL'));
  await once(busy, 'message');
  quota.hold(busy.pid as number);
  busy.send({});
  const [took] = await once(busy, 'message');
  expect(took).toBeGreaterThan(600);
  const removed = quota.remove();
  busy.kill('SIGKILL');
  await removed;
  expect(existsSync(quota.folder)).toBe(false);
});

function read({ folder }: Quota, file: string): string {
  return readFileSync(join(folder, file), 'utf8');
}
