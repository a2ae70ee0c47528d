import type { Options } from './options.ts';
import type { Processes } from './processes.ts';
import type { Report } from './report.ts';

/** What every section is given. */
export interface Bench {
  options: Options;
  processes: Processes;
  report: Report;
  /** Scratch; leaves with the run. */
  folder: string;
  /** How often floor and subject take turns. */
  rounds: number;
  /** What is to be done at the end, whatever happens. */
  cleanups: (() => Promise<void>)[];
}

/** Does each of these in turn, so many times: what makes a machine slow for a while meets all of them. */
export async function inTurns<Name extends string, T>(
  rounds: number,
  turns: Record<Name, (round: number) => Promise<T>>,
): Promise<Record<Name, T[]>> {
  const names = Object.keys(turns) as Name[];
  const done = Object.fromEntries(names.map(name => [name, [] as T[]])) as Record<Name, T[]>;
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names) done[name].push(await turns[name](round));
  }
  return done;
}
