import { appendFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/*
 * A share of a core for a process, by a control group of Linux: version 1, or the unified version 2.
 * https://docs.kernel.org/scheduler/sched-bwc.html, https://docs.kernel.org/admin-guide/cgroup-v2.html
 */

/** Short, so that a process whose share is used up waits for milliseconds, not for a tenth of a second. Microseconds. */
const PERIOD_US = 20_000;
/** How long the processes of a group may take to be gone. Milliseconds. */
const PATIENCE_MS = 5000;

export const quotaHint = 'No CPU quota: that takes Linux, root, and a controller `cpu` of control groups.';

export interface Quota {
  /** Where the group is. */
  folder: string;
  /** From now on the process and all its threads have no more than the share. */
  hold(pid: number): void;
  /** Removes the group, as soon as no process is left in it. */
  remove(): Promise<void>;
}

/**
 * A group that has a share of a core for all its processes together. Undefined where none can be made.
 * @param share cores: 0.25 is a quarter of one
 * @param root where the groups of the system are
 */
export function makeQuota(share: number, root = '/sys/fs/cgroup'): Quota | undefined {
  const quotaUs = Math.round(share * PERIOD_US);
  const name = `forumbus-bench-${process.pid}-${performance.now()}`;
  try {
    if (existsSync(join(root, 'cpu'))) {
      return group(join(root, 'cpu', name), { 'cpu.cfs_period_us': PERIOD_US, 'cpu.cfs_quota_us': quotaUs });
    }
    if (!has(join(root, 'cgroup.controllers'))) return undefined;
    if (!has(join(root, 'cgroup.subtree_control'))) appendFileSync(join(root, 'cgroup.subtree_control'), '+cpu');
    return group(join(root, name), { 'cpu.max': `${quotaUs} ${PERIOD_US}` });
  } catch {
    // It is not ours to write, or a system that has no such files.
    return undefined;
  }
}

function has(file: string): boolean {
  return existsSync(file) && readFileSync(file, 'utf8').trim().split(' ').includes('cpu');
}

function group(folder: string, settings: Record<string, string | number>): Quota {
  mkdirSync(folder);
  try {
    for (const [file, value] of Object.entries(settings)) writeFileSync(join(folder, file), String(value));
  } catch (error) {
    rmdirSync(folder);
    throw error;
  }
  return {
    folder,
    hold: pid => writeFileSync(join(folder, 'cgroup.procs'), String(pid)),
    async remove() {
      const deadline = performance.now() + PATIENCE_MS;
      while (!(await rmdir(folder).then(() => true, isGone))) {
        if (performance.now() > deadline) throw new Error(`The control group ${folder} is still in use.`);
        await delay(20);
      }
    },
  };
}

function isGone(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ENOENT';
}
