import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it, onTestFinished } from 'vitest';
import { bytesWrittenBy, coreTime, coreTimeIn, cpuOf, cpuOfTree } from './usage.ts';

const onLinux = process.platform === 'linux';
const without = onLinux ? '' : ' (needs the /proc of Linux)';

/** 300 ms of CPU, and hardly a system call. */
const BUSY = `
  const until = process.cpuUsage().user + 300_000;
  while (process.cpuUsage().user < until) for (let number = 0; number < 1e6; number += 1) Math.sqrt(number);
`;
/** Has a child that computes and ends, and one that computes and stays. */
const PARENT = `
  const { spawn } = require('node:child_process');
  const busy = then => spawn(process.execPath, ['-e', ${JSON.stringify(BUSY)} + then], { stdio: ['ignore', 'pipe', 'inherit'] });
  busy('').once('exit', () => busy('console.log(1); setInterval(() => {}, 1000)').stdout.once('data', () => console.log('done')));
`;

it.skipIf(!onLinux)(
  `counts the CPU of a process, and of its children whether they have ended or not${without}`,
  async () => {
    const parent = spawn(process.execPath, ['-e', PARENT], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    // With its children: they are a group of their own.
    onTestFinished(() => void process.kill(-(parent.pid as number), 'SIGKILL'));
    await once(parent.stdout, 'data');
    const pid = parent.pid as number;
    expect(cpuOfTree(pid) - cpuOf(pid)).toBeGreaterThan(0.5);
    expect(bytesWrittenBy(pid)).toBeGreaterThanOrEqual(0);
  },
);

it('a process that is not there has used an unknown time', () => {
  expect([cpuOf(2 ** 30), cpuOfTree(2 ** 30), bytesWrittenBy(2 ** 30)]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
});

it('reads the time of all cores, and how much of it they had nothing to do', () => {
  const stat = 'cpu  100 20 300 4000 500 6 70 8 90 10\ncpu0 50 10 150 2000 250 3 35 4 45 5\nintr 1 2 3\n';
  expect(coreTimeIn(stat)).toEqual({ idle: 45, all: 50.04 });
  expect(coreTimeIn('')).toEqual({ idle: Number.NaN, all: Number.NaN });
});

it.skipIf(!onLinux)(`finds the time of the cores of this machine${without}`, () => {
  const { idle, all } = coreTime();
  expect(idle).toBeGreaterThan(0);
  expect(all).toBeGreaterThan(idle);
});
