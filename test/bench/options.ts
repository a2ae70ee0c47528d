import { parseArgs } from 'node:util';

/** The sections of the bench, in the order in which they run: the last one tells what the others have used. */
export const sections = ['a', 'b', 'c', 'd', 'f', 'g', 'e'] as const;
export type Section = (typeof sections)[number];

export interface Options {
  only: Set<Section>;
  /** Short and small: about a minute in all, and figures that say little. */
  quick: boolean;
  /** The file that holds the history of (d), or is to be seeded with it. */
  history: string | undefined;
  /** LOG_LEVEL of the service and of the floor that is the service without a store. */
  logLevel: string;
  /** Where the databases are. */
  folder: string | undefined;
}

export const usage = `npm run bench -- [options]
  --only=a,c          sections:
                        a  signals/s over HTTP, while dispatch keeps up
                        b  dispatches/s with an empty handler
                        c  from the 201 to the handler's start, on an idle service
                        d  (a), (b) and (c) with a long history against an empty database
                        e  memory of the service in the sections that run
                        f  (a) and (b) on PostgreSQL, with one and with two processes
                        g  2,000 agents that wait for answers: requests, CPU, memory, tokens (Linux)
  --quick             short and small, about a minute in all
  --history=<file>    keeps the seeded database of (d), and uses it again
  --folder=<folder>   where the databases are made (the system's temporary folder)
  --log-level=<level> LOG_LEVEL of the service (warn; info logs every request)
`;

/** @throws Error with a sentence for the caller */
export function readOptions(args: string[]): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      only: text,
      quick: { type: 'boolean' },
      history: text,
      folder: text,
      'log-level': text,
    },
  });
  const named = values.only?.split(',') ?? [...sections];
  const unknown = named.find(name => !(sections as readonly string[]).includes(name));
  if (unknown !== undefined) throw new Error(`There is no section ${unknown}; there are ${sections.join(', ')}.`);
  return {
    only: new Set(named as Section[]),
    quick: values.quick ?? false,
    history: values.history,
    logLevel: values['log-level'] ?? 'warn',
    folder: values.folder,
  };
}
