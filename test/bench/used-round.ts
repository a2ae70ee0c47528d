import { type Load, type Round, signalRound } from './closed-loop.ts';
import type { Subject } from './processes.ts';
import { bytesWrittenBy, cpuOf, cpuOfTree } from './usage.ts';

/** A round of signals with what each of them took. */
export interface UsedRound extends Round {
  /** CPU of the services. Microseconds. */
  cpu: number;
  /** CPU of the database server, if there is one. Microseconds. */
  serverCpu: number;
  /** Bytes that the services had written to a disk. */
  written: number;
}

/** @param server process id of the database server */
export async function usedRound(
  subjects: Subject[],
  load: Load,
  { dispatch = true, server }: { dispatch?: boolean; server?: number } = {},
): Promise<UsedRound> {
  const read = () => ({
    cpu: sum(subjects, cpuOf),
    serverCpu: server === undefined ? Number.NaN : cpuOfTree(server),
    written: sum(subjects, bytesWrittenBy),
  });
  const before = read();
  const round = await signalRound(subjects, load, dispatch);
  const after = read();
  const each = (name: keyof typeof before) => (after[name] - before[name]) / round.count;
  return { ...round, cpu: 1e6 * each('cpu'), serverCpu: 1e6 * each('serverCpu'), written: each('written') };
}

function sum(subjects: Subject[], of: (pid: number) => number): number {
  return subjects.reduce((total, { pid }) => total + of(pid), 0);
}
