import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Resident memory of a process: now, and at most since it began. Mebibytes. */
export interface Memory {
  now: number;
  peak: number;
}

/** Undefined if the process is gone. Where there is no /proc the peak is not known, and is what it uses now. */
export function memoryOf(pid: number): Memory | undefined {
  try {
    if (process.platform !== 'linux') {
      const now = Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1024;
      return { now, peak: now };
    }
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kibibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
    const [now, peak] = [kibibytes('VmRSS') / 1024, kibibytes('VmHWM') / 1024];
    return Number.isNaN(now + peak) ? undefined : { now, peak };
  } catch {
    return undefined;
  }
}
