import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** The sections of the bench, in the order in which they run: the last one tells what the others have used. */
export const sections = ['a', 'b', 'c', 'd', 'f', 'g', 'e'] as const;
export type Section = (typeof sections)[number];

/** Those in which two revisions can take turns. */
export const comparable = ['a', 'b', 'c', 'f'] as const;

export interface Options {
  only: Set<Section>;
  /** Short and small: a few minutes in all, and figures that say little. */
  quick: boolean;
  /** Only draws the charts and the tables of the documents again, from the figures of the last run. */
  charts: boolean;
  /** The git revision that this clone is compared with. */
  against: string | undefined;
  /** Where the figures are kept; undefined: not at all. */
  figures: string | undefined;
  /** The SQLite file that holds the history of (d), or is to be seeded with it. */
  history: string | undefined;
  /** LOG_LEVEL of the service and of the floor that is the service without a store. */
  logLevel: string;
  /** Where the databases are. */
  folder: string | undefined;
}

export const usage = `npm run bench -- [options]
  --only=a,c          sections:
                        a  signals/s over HTTP, while dispatch keeps up; CPU, statements and bytes of a signal
                        b  dispatches/s with an empty handler
                        c  from the 201 to the handler's start, on an idle service
                        d  (a), (b), (c) and reads with a long history against an empty database, on both engines
                        e  memory of the package, built and installed
                        f  (a) and (b) on PostgreSQL, with one and with two processes, also with a CPU quota
                        g  2,000 agents that wait for answers: requests, CPU, memory, tokens (Linux)
  --against=<rev>     compares this clone with a git revision, in turns, in (a), (b), (c) and (f)
  --charts            only draws the charts and tables of docs/ again
  --quick             short and small, a few minutes in all; keeps no figures
  --figures=<file>    keeps the figures there (docs/charts/figures.json, from which charts and tables are drawn)
  --history=<file>    keeps the seeded SQLite file of (d), and uses it again
  --folder=<folder>   where the databases are made (the system's temporary folder)
  --log-level=<level> LOG_LEVEL of the service (warn; info logs every request)
`;

/**
 * @param standard the file of the figures that belong to the repository
 * @throws Error with a sentence for the caller
 */
export function readOptions(args: string[], standard: string): Options {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const { values } = parseArgs({
    args,
    options: {
      ...{ only: text, against: text, figures: text, history: text, folder: text, 'log-level': text },
      ...{ quick: flag, charts: flag },
    },
  });
  const { against, quick = false } = values;
  const possible: readonly string[] = against === undefined ? sections : comparable;
  const named = values.only?.split(',') ?? [...possible];
  const unknown = named.find(name => !possible.includes(name));
  if (unknown !== undefined) {
    const where = against === undefined ? '' : ' in which revisions are compared';
    throw new Error(`There is no section ${unknown}${where}; there are ${possible.join(', ')}.`);
  }
  return {
    only: new Set(named as Section[]),
    quick,
    charts: values.charts ?? false,
    against,
    figures:
      values.figures !== undefined ? resolve(values.figures) : quick || against !== undefined ? undefined : standard,
    history: values.history,
    logLevel: values['log-level'] ?? 'warn',
    folder: values.folder,
  };
}
