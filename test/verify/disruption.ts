import { setTimeout as delay } from 'node:timers/promises';
import type { Fleet, Service } from './fleet.ts';
import type { Options } from './options.ts';
import type { Random } from './random.ts';
import type { Store } from './store.ts';

type Kind = 'kill' | 'stop' | 'terminate' | 'restart';

/** Longer than PostgreSQL lets a write stand still: whoever is stopped in the middle of one finds it rolled back. */
const WRITE_PATIENCE_MS = 5500;

interface Dependencies {
  options: Options;
  fleet: Fleet;
  store: Store;
  random: Random;
  /** From 0 to 1: how much of the run is done. */
  progress: () => number;
  /** Lets the clients go on to this share of the signals. */
  allow: (share: number) => void;
  cancelled: AbortSignal;
  /** Tells the user what has just been done. */
  say: (line: string) => void;
}

export interface Done {
  counts: Record<Kind, number>;
  /** Processes started in the place of a killed one. */
  restarted: Service[];
}

/** Breaks what can break, at random moments spread over the whole run: over the sending and over the handling. */
export async function disrupt(dependencies: Dependencies): Promise<Done> {
  const { options, random, progress, allow, cancelled } = dependencies;
  const done: Done = { counts: { kill: 0, stop: 0, terminate: 0, restart: 0 }, restarted: [] };
  const kinds = random.shuffle(plan(options));
  for (const [index, kind] of kinds.entries()) {
    allow((index + 1) / kinds.length);
    const moment = (index + random.next()) / kinds.length;
    while (progress() < moment) await delay(5, undefined, { signal: cancelled });
    // A moment of its own, or it would always come right after an answer.
    await delay(random.below(20));
    await acts[kind](dependencies, done);
    done.counts[kind] += 1;
  }
  allow(1);
  return done;
}

function plan({ kills, engine }: Options): Kind[] {
  const kinds: Kind[] = Array.from({ length: kills }, (_, index) => (index % 3 === 2 ? 'stop' : 'kill'));
  if (engine === 'postgres' && kills > 0) {
    kinds.push('restart', ...Array.from({ length: Math.ceil(kills / 4) }, () => 'terminate' as const));
  }
  return kinds;
}

const acts: Record<Kind, (dependencies: Dependencies, done: Done) => Promise<void>> = {
  async kill({ fleet, random, say }, { restarted }) {
    const victim = await fleet.anyUp(up => random.pick(up));
    const successor = await fleet.replace(victim);
    restarted.push(successor);
    say(`SIGKILL to process ${victim.pid}; process ${successor.pid} has taken its place`);
  },

  async stop({ options, fleet, random, say }, { counts }) {
    const victim = await fleet.anyUp(up => random.pick(up));
    const first = options.engine === 'postgres' && counts.stop === 0;
    const least = Math.max(options.leaseMs * 1.2, first ? WRITE_PATIENCE_MS : 0);
    const milliseconds = Math.round(least + random.next() * options.leaseMs);
    victim.signal('SIGSTOP');
    await delay(milliseconds);
    victim.signal('SIGCONT');
    fleet.changed();
    say(`SIGSTOP to process ${victim.pid}, and SIGCONT after ${milliseconds} ms, when its leases had run out`);
  },

  async terminate({ store, say }) {
    const ended = await store.server?.terminateBackends();
    say(`pg_terminate_backend for ${ended} connections of the service`);
  },

  async restart({ store, say }) {
    const begun = Date.now();
    await store.server?.restart();
    say(`PostgreSQL shut down at once and started again on its data, in ${Date.now() - begun} ms`);
  },
};
