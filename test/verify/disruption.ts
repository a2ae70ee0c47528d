import { setTimeout as delay } from 'node:timers/promises';
import type { Fleet, Service } from './fleet.ts';
import { type Heads, readHeads, waitForSubscription } from './observe.ts';
import type { Options } from './options.ts';
import type { Random } from './random.ts';
import type { Store } from './store.ts';
import { LATE } from './subscriptions.ts';

type Kind = 'kill' | 'stop' | 'terminate' | 'restart' | 'leave' | 'join' | 'return';

/** Longer than PostgreSQL lets a write stand still: whoever is stopped in the middle of one finds it rolled back. */
const WRITE_PATIENCE_MS = 5500;
/** When what happens once in a run happens, as shares of the run. */
const FIXED: Partial<Record<Kind, number>> = { leave: 0.2, join: 0.45, return: 0.75 };

interface Dependencies {
  options: Options;
  fleet: Fleet;
  store: Store;
  random: Random;
  /** From 0 to 1: how much of the run is over. */
  progress: () => number;
  /** Which subscriptions the next processes have. */
  state: { left: boolean; joined: boolean };
  cancelled: AbortSignal;
  /** Tells the user what has just been done. */
  say: (line: string) => void;
}

export interface Done {
  counts: Record<Kind, number>;
  /** Processes started in the place of a killed one. */
  restarted: Service[];
  /** The heads of the log and of the published messages before and after the late subscription came. */
  joined: { before: Heads; after: Heads } | undefined;
}

/** Breaks what can break, at random moments spread over the whole run. */
export async function disrupt(dependencies: Dependencies): Promise<Done> {
  const { options, random, progress, cancelled } = dependencies;
  const counts = { kill: 0, stop: 0, terminate: 0, restart: 0, leave: 0, join: 0, return: 0 };
  const done: Done = { counts, restarted: [], joined: undefined };
  const drawn = random.shuffle(plan(options));
  const moments = [
    ...drawn.map((kind, index) => ({ kind, moment: (index + random.next()) / drawn.length })),
    ...Object.entries(FIXED).map(([kind, moment]) => ({ kind: kind as Kind, moment })),
  ].sort((a, b) => a.moment - b.moment);
  for (const { kind, moment } of moments) {
    while (progress() < moment) await delay(5, undefined, { signal: cancelled });
    // A moment of its own, or it would always come right after an answer.
    await delay(random.below(20));
    await acts[kind](dependencies, done);
    done.counts[kind] += 1;
  }
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

  async leave({ fleet, state, say }, { restarted }) {
    state.left = true;
    const victim = fleet.inSlot(0) ?? (await fleet.anyUp(([first]) => first as Service));
    const successor = await fleet.replace(victim);
    restarted.push(successor);
    say(`SIGKILL to process ${victim.pid}; process ${successor.pid} serves one subscription less`);
  },

  async join({ options, fleet, store, state, cancelled, say }, done) {
    const before = await readHeads(store);
    state.joined = true;
    const { processes } = options;
    const single = processes === 1 ? fleet.inSlot(0) : undefined;
    const service = single ? await fleet.replace(single, 'SIGTERM') : await fleet.start(processes);
    await waitForSubscription(store, LATE, cancelled);
    done.joined = { before, after: await readHeads(store) };
    say(`process ${service.pid} has started with a further subscription`);
  },

  async return({ fleet, state, say }) {
    state.left = false;
    const asked = fleet.inSlot(0) ?? (await fleet.anyUp(([first]) => first as Service));
    const successor = await fleet.replace(asked, 'SIGTERM');
    say(`SIGTERM to process ${asked.pid}; process ${successor.pid} serves again what had been left`);
  },
};
