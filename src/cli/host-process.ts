import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { isAlive, markOf, type ProcessMark } from './background.ts';

/** More shells than hosts put between themselves and a command. */
const MOST_SHELLS = 4;

/**
 * The process of the host that runs this one. Hosts run hooks by a shell, which may outlive its host. They run commands
 * by a shell or npx, another one each time.
 * @returns undefined if it has died already
 */
export function hostProcess(): ProcessMark | undefined {
  let pid = process.ppid;
  for (let climbed = 0; climbed < MOST_SHELLS && isShell(nameOf(pid)); climbed += 1) pid = parentOf(pid);
  return pid > 0 ? markOf(pid) : undefined;
}

/** Whether a process still runs. Cheap enough to be asked every second. */
export function stillRuns(mark: ProcessMark): boolean {
  if (process.platform === 'linux') return isAlive(mark);
  try {
    process.kill(mark.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function isShell(name: string): boolean {
  return /^-?(?:.*\/)?(?:ba|da|a|k|z|fi)?sh$|^npm /.test(name);
}

function nameOf(pid: number): string {
  return process.platform === 'linux' ? statOf(pid).name : byPs(pid, 'comm=');
}

function parentOf(pid: number): number {
  return process.platform === 'linux' ? statOf(pid).parent : Number(byPs(pid, 'ppid=')) || 0;
}

/** Fields 2 and 4 of proc(5). */
function statOf(pid: number): { name: string; parent: number } {
  try {
    const [, name = '', parent] = /^\d+ \((.*)\) \S (\d+) /s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    return { name, parent: Number(parent) || 0 };
  } catch {
    return { name: '', parent: 0 };
  }
}

function byPs(pid: number, field: string): string {
  return spawnSync('ps', ['-o', field, '-p', String(pid)], { encoding: 'utf8' }).stdout?.trim() ?? '';
}
