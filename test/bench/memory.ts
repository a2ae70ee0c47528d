import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Bench } from './bench.ts';

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

/** (e) What the services of the other sections have used. */
export async function usedMemory({ report, processes }: Bench): Promise<void> {
  report.section('(e) resident memory of the services');
  const names = new Set(processes.memory.map(({ name }) => name));
  const peakOf = (names: string[]) =>
    Math.max(...processes.memory.filter(one => names.includes(one.name)).map(one => one.memory.peak));
  for (const name of names) {
    const last = processes.memory.findLast(one => one.name === name)?.memory.now ?? 0;
    report.row(name, `${peakOf([name]).toFixed(0)} MiB at most, ${last.toFixed(0)} at the end`);
  }
  const onSqlite = [...names].filter(name => !name.includes('PostgreSQL'));
  if (onSqlite.length === 0) report.note('No section was chosen that has services on SQLite.');
  else report.target('e: resident memory on SQLite at most', peakOf(onSqlite), { below: 150 }, { unit: ' MiB' });
}
