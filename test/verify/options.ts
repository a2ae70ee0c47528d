import { parseArgs } from 'node:util';
import type { Engine } from '../../src/db/engine.ts';

export interface Options {
  /** How long the clients act. */
  seconds: number;
  kills: number;
  engine: Engine;
  processes: number;
  lanes: number;
  clients: number;
  /** Acts of all clients a second, at most. */
  rate: number;
  seed: number;
  leaseMs: number;
  /** Handlers misbehave, the database has other defaults, and clocks are an hour apart. */
  hostile: boolean;
  /** Upgrades a database of the previous release instead. */
  upgrade: boolean;
  /** Kills the command line and the service while an agent asks, instead. */
  cli: boolean;
  /** Sends events to many webhooks, a third of which fail, instead. */
  webhooks: boolean;
  endpoints: number;
  events: number;
  /** Runs that the events are of; each webhook follows one. */
  runs: number;
  /** The longest p99 from an event to its arrival that is right. Milliseconds. */
  p99: number;
}

export const usage = `npm run verify -- [options]
  --seconds S      how long clients act while the service is broken, per engine (60)
  --kills K        moments at which a process is killed, or stopped past its lease (one for every 6 seconds)
  --engine E       sqlite, postgres or both, one after the other (both)
  --processes P    processes on one database; SQLite has one (2)
  --lanes L        agents, each with a lane of its own (30)
  --clients C      clients that act at the same time (8)
  --rate R         acts of all clients a second, at most (40)
  --lease-ms M     how long a claim holds (2000)
  --seed S         draws the same mix of acts and moments again (random)
  --hostile        handlers throw what cannot be printed, the database has unusual defaults, clocks are an hour apart
  --cli            asks by the command line instead, and kills the command, the service or both, once for each of --kills (100)
  --webhooks       sends events to webhooks instead, a third of which fail, hang, are slow or gone, and then kills the service
                   for --kills times (5); --rate is of events (10)
  --endpoints N    webhooks (50)
  --events N       events: some before the bad ones are there, most while they are, some while the service is killed (10,000)
  --runs R         runs that the events are of, each webhook follows one (5); with 1 all of them get every event
  --p99 MS         the longest p99 from an event to its arrival that is right (1000)
  --upgrade        upgrades a database of the previous release instead, and kills a process while it delivers what waits
`;

/** The options of each engine that is to be verified. @throws Error with a sentence for the caller */
export function readOptions(args: string[]): Options[] {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      seconds: text,
      kills: text,
      engine: text,
      processes: text,
      lanes: text,
      clients: text,
      rate: text,
      seed: text,
      'lease-ms': text,
      hostile: { type: 'boolean' },
      upgrade: { type: 'boolean' },
      cli: { type: 'boolean' },
      webhooks: { type: 'boolean' },
      endpoints: text,
      events: text,
      runs: text,
      p99: text,
    },
  });
  const whole = (
    name: Exclude<keyof typeof values, 'hostile' | 'upgrade' | 'cli' | 'webhooks'>,
    fallback: number,
    least: number,
  ): number => {
    const value = Number(values[name] ?? fallback);
    if (!Number.isSafeInteger(value) || value < least) throw new Error(`--${name} takes a whole number from ${least}.`);
    return value;
  };
  const { engine = 'both' } = values;
  if (engine !== 'sqlite' && engine !== 'postgres' && engine !== 'both') {
    throw new Error('--engine takes sqlite, postgres or both.');
  }
  const processes = whole('processes', 2, 1);
  if (processes > 1 && engine === 'sqlite' && values.processes !== undefined) {
    throw new Error('A SQLite file has one Forumbus process; use --engine postgres with --processes.');
  }
  const lanes = whole('lanes', 30, 1);
  const seconds = whole('seconds', 60, 1);
  const common = {
    seconds,
    kills: whole('kills', values.cli ? 100 : values.webhooks ? 5 : Math.max(1, Math.round(seconds / 6)), 0),
    lanes,
    // A lane belongs to one client, so that its signals are sent one after the other.
    clients: Math.min(whole('clients', 8, 1), lanes),
    rate: whole('rate', values.webhooks ? 10 : 40, 1),
    seed: whole('seed', Math.floor(Math.random() * 2 ** 32), 0),
    leaseMs: whole('lease-ms', 2000, 300),
    hostile: values.hostile ?? false,
    upgrade: values.upgrade ?? false,
    cli: values.cli ?? false,
    webhooks: values.webhooks ?? false,
    endpoints: whole('endpoints', 50, 3),
    events: whole('events', 10_000, 10),
    runs: whole('runs', 5, 1),
    p99: whole('p99', 1000, 1),
  };
  const engines: Engine[] = engine === 'both' ? ['sqlite', 'postgres'] : [engine];
  return engines.map(one => ({ ...common, engine: one, processes: one === 'sqlite' ? 1 : processes }));
}
