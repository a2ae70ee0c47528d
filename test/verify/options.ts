import { parseArgs } from 'node:util';
import type { Engine } from '../../src/db/engine.ts';

export interface Options {
  signals: number;
  kills: number;
  engine: Engine;
  processes: number;
  lanes: number;
  clients: number;
  seed: number;
  leaseMs: number;
  /** Handlers misbehave, the database has other defaults, and clocks are an hour apart. */
  hostile: boolean;
  /** Upgrades a database of the previous release instead. */
  upgrade: boolean;
}

export const usage = `npm run verify -- [options]
  --signals N      signals that have to be acknowledged (1000)
  --kills K        moments at which a process is killed, or stopped past its lease (10)
  --engine E       sqlite or postgres (sqlite)
  --processes P    processes on one database; more than one needs postgres (1)
  --lanes L        agents, each with a lane of its own (50)
  --clients C      clients that send at the same time (8)
  --lease-ms M     how long a claim holds (1000)
  --seed S         draws the same mix of signals and moments again (random)
  --hostile        handlers throw what cannot be printed, the database has unusual defaults, clocks are an hour apart
  --upgrade        upgrades a database of the previous release instead, and kills a process while it delivers what waits
`;

/** @throws Error with a sentence for the caller */
export function readOptions(args: string[]): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      signals: text,
      kills: text,
      engine: text,
      processes: text,
      lanes: text,
      clients: text,
      seed: text,
      'lease-ms': text,
      hostile: { type: 'boolean' },
      upgrade: { type: 'boolean' },
    },
  });
  const whole = (
    name: Exclude<keyof typeof values, 'hostile' | 'upgrade'>,
    fallback: number,
    least: number,
  ): number => {
    const value = Number(values[name] ?? fallback);
    if (!Number.isSafeInteger(value) || value < least) throw new Error(`--${name} takes a whole number from ${least}.`);
    return value;
  };
  const { engine = 'sqlite' } = values;
  if (engine !== 'sqlite' && engine !== 'postgres') throw new Error('--engine takes sqlite or postgres.');
  const processes = whole('processes', 1, 1);
  if (processes > 1 && engine === 'sqlite') {
    throw new Error('A SQLite file has one Forumbus process; use --engine postgres with --processes.');
  }
  const lanes = whole('lanes', 50, 1);
  return {
    signals: whole('signals', 1000, 1),
    kills: whole('kills', 10, 0),
    engine,
    processes,
    lanes,
    // A lane belongs to one client, so that its signals are sent one after the other.
    clients: Math.min(whole('clients', 8, 1), lanes),
    seed: whole('seed', Math.floor(Math.random() * 2 ** 32), 0),
    leaseMs: whole('lease-ms', 1000, 300),
    hostile: values.hostile ?? false,
    upgrade: values.upgrade ?? false,
  };
}
