import { type Load, type Round, signalRound } from './closed-loop.ts';
import type { Subject } from './processes.ts';
import { bytesWrittenBy, coreTime, cpuOf, cpuOfTree } from './usage.ts';

/** A round of signals with what each of them took. */
export interface UsedRound extends Round {
  /** CPU of the services. Microseconds. */
  cpu: number;
  /** CPU of each service, for a signal of any of them. Microseconds. */
  cpuOfEach: number[];
  /** CPU of the database server, if there is one. Microseconds. */
  serverCpu: number;
  /** CPU of the client, which is this process. Microseconds. */
  clientCpu: number;
  /** Share of the machine's cores that had nothing to do. */
  idle: number;
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
    cpuOfEach: subjects.map(({ pid }) => cpuOf(pid)),
    serverCpu: server === undefined ? Number.NaN : cpuOfTree(server),
    clientCpu: cpuOf(process.pid),
    cores: coreTime(),
    written: sum(subjects.map(({ pid }) => bytesWrittenBy(pid))),
  });
  const before = read();
  const round = await signalRound(subjects, load, dispatch);
  const after = read();
  const each = (now: number, then: number) => (now - then) / round.count;
  const cpuOfEach = after.cpuOfEach.map((cpu, at) => 1e6 * each(cpu, before.cpuOfEach[at] as number));
  return {
    ...round,
    cpu: sum(cpuOfEach),
    cpuOfEach,
    serverCpu: 1e6 * each(after.serverCpu, before.serverCpu),
    clientCpu: 1e6 * each(after.clientCpu, before.clientCpu),
    idle: (after.cores.idle - before.cores.idle) / (after.cores.all - before.cores.all),
    written: each(after.written, before.written),
  };
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
