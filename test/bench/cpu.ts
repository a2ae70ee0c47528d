import { readFileSync } from 'node:fs';

/** Clock ticks of the accounting. Per second, on every Linux of today. */
const TICKS = 100;

/** CPU time that a process has used, its threads and the kernel's work for it included. Seconds. Linux only. */
export function cpuOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name of the program may contain spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}
