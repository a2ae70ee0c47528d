import { readdirSync, readFileSync } from 'node:fs';

/*
 * What processes have used, from the operating system's accounting. Linux only: elsewhere it is unknown (NaN).
 */

/** Clock ticks of the accounting. Per second, on every Linux of today. */
const TICKS = 100;

interface Times {
  parent: number;
  /** Its own, its threads and the kernel's work for it included. */
  own: number;
  /** Of its children that have ended, and of theirs. */
  ended: number;
}

/** CPU time that a process has used. Seconds. */
export function cpuOf(pid: number): number {
  return timesOf(pid)?.own ?? Number.NaN;
}

/**
 * CPU time of a PostgreSQL server: its main process, and one process for each connection and task. One that ends is
 * accounted to the main process. Seconds.
 */
export function cpuOfTree(pid: number): number {
  const root = timesOf(pid);
  if (!root) return Number.NaN;
  const children = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(name => timesOf(Number(name)));
  return children.reduce((sum, child) => sum + (child?.parent === pid ? child.own : 0), root.own + root.ended);
}

/** Bytes that a process has had written to a disk, the write-ahead log and the checkpoints included. */
export function bytesWrittenBy(pid: number): number {
  return Number(/^write_bytes: (\d+)$/m.exec(textOf(`/proc/${pid}/io`) ?? '')?.[1] ?? Number.NaN);
}

/** Time of all cores together since the machine started. Seconds. */
export interface CoreTime {
  /** With nothing to do, or with nothing to do but to wait for a disk. */
  idle: number;
  all: number;
}

/** Unknown (NaN) where there is no /proc. */
export function coreTime(): CoreTime {
  return coreTimeIn(textOf('/proc/stat') ?? '');
}

/** @param stat text of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user */
export function coreTimeIn(stat: string): CoreTime {
  const ticks = /^cpu +(.*)$/m.exec(stat)?.[1]?.split(' ').slice(0, 8).map(Number);
  if (!ticks) return { idle: Number.NaN, all: Number.NaN };
  const seconds = (times: number[]) => times.reduce((sum, time) => sum + time, 0) / TICKS;
  return { idle: seconds(ticks.slice(3, 5)), all: seconds(ticks) };
}

/** Undefined if there is no such process. */
function timesOf(pid: number): Times | undefined {
  const text = textOf(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name of the program may contain spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const seconds = (...indexes: number[]) => indexes.reduce((sum, index) => sum + Number(fields[index]), 0) / TICKS;
  return { parent: Number(fields[1]), own: seconds(11, 12), ended: seconds(13, 14) };
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
