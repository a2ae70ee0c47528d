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
