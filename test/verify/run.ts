import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ask } from './ask.ts';
import { Clients } from './clients.ts';
import { wrongClocks } from './clocks.ts';
import { type Done, disrupt } from './disruption.ts';
import { Fleet } from './fleet.ts';
import { Notes } from './notes.ts';
import { type Asked, countOpen, type Observed, readStore } from './observe.ts';
import { Operator } from './operator.ts';
import type { Options } from './options.ts';
import { seeded } from './random.ts';
import type { Progress } from './report.ts';
import type { Store } from './store.ts';
import { servedBy } from './subscriptions.ts';

export interface Run {
  load: Clients;
  operator: Operator;
  done: Done;
  fleet: Fleet;
  observed: Observed;
  /** Until all was handled. */
  milliseconds: number;
}

/** Acts, breaks, waits until every delivery has come to its end, and answers what there is to see then. */
export async function run(
  options: Options,
  store: Store,
  folder: string,
  progress: Progress,
  interrupted: AbortSignal,
): Promise<Run> {
  const { seconds, kills, processes, leaseMs, seed, hostile } = options;
  // Generous for a slow machine, and an end for a run that is stuck.
  const deadline = AbortSignal.timeout(180_000 + seconds * 10_000 + kills * (leaseMs * 3 + 20_000));
  const failure = new AbortController();
  const cancelled = AbortSignal.any([deadline, failure.signal, interrupted]);

  const path = join(folder, 'notes.jsonl');
  const notes = new Notes(path);
  // Claims count as attempts, so a run with many kills takes more of them than a handler would.
  const settings = { PORT: '0', LEASE_MS: String(leaseMs), MAX_ATTEMPTS: '100', RATE_LIMIT_PER_MINUTE: '0' };
  const delays = { BACKOFF_BASE_MS: '100', BACKOFF_CAP_MS: '1000' };
  const clocks = hostile ? wrongClocks() : undefined;
  if (hostile && !clocks) progress.say('libfaketime is not installed, so all clocks are right');
  const env = { ...settings, ...delays, DATABASE_URL: store.url, VERIFY_NOTES: path };
  const misbehaving = hostile ? { VERIFY_HOSTILE: '1' } : {};
  const state = { left: false, joined: false };
  const fleet = new Fleet(
    folder,
    (slot, started) => {
      const HANDLERS_DIR = handlersFolder(folder, servedBy(slot, processes, state));
      return { ...env, HANDLERS_DIR, ...misbehaving, ...clocks?.(started) };
    },
    cancelled,
  );
  const load = new Clients(options, fleet, seeded(seed));
  const operator = new Operator(fleet, seeded(seed + 2));
  let began = performance.now();
  // Where the machine is slow, the run takes longer, until half of the intended acts have been done.
  const wanted = (seconds * options.rate) / 2;
  const share = () => Math.min(1, (performance.now() - began) / 1000 / seconds, load.acts / wanted);
  const show = () => {
    notes.read();
    progress.show(share(), `${load.acts} acts, ${load.acknowledged.length} signals, ${notes.all.length} notes`);
  };
  const atRest = async () => {
    while ((await countOpen(store)) > 0) await delay(100, undefined, { signal: cancelled });
  };
  let display: NodeJS.Timeout | undefined;
  try {
    // All subscriptions but the late one start before the first event.
    await Promise.all(Array.from({ length: processes }, (_, slot) => fleet.start(slot)));
    began = performance.now();
    display = setInterval(show, 50);
    const say = (line: string) => progress.say(line);
    const disruption = disrupt({
      ...{ options, fleet, store, progress: share, state, cancelled, say },
      random: seeded(seed + 1),
    });
    const acting = load.run();
    const operating = operator.run();
    // One that fails must not leave the others waiting for it.
    for (const part of [disruption, acting, operating]) part.catch(error => failure.abort(error));
    const done = await disruption;
    while (share() < 1) await delay(20, undefined, { signal: cancelled });
    load.stop();
    await acting;
    await atRest();
    operator.stop();
    await operating;
    await operator.replayDead();
    await atRest();
    const milliseconds = performance.now() - began;
    const service = await fleet.anyUp(up => seeded(seed).pick(up));
    const asked: Asked[] = await ask(service.origin, await readStore(store), seeded(seed + 3));
    await fleet.stop();
    show();

    const { acknowledged, sent, wrong, sightings, marks, received, posted, published } = load;
    // On SQLite a process measures leases with its own clock, so one that starts with another ends them.
    const claimed = clocks && options.engine === 'sqlite' ? [] : load.claimed;
    const told = { acknowledged, sent, sightings, marks, received, claimed, posted, published };
    const mended = fleet.past.reduce((sum, service) => sum + service.mended, 0);
    const seen = { ...told, wrong: [...wrong, ...operator.wrong], unexpected: fleet.unexpected, notes: notes.all };
    const rest = { leaseMs, mended, joined: done.joined, asked };
    const observed = { ...seen, ...rest, ...(await readStore(store)) };
    return { load, operator, done, fleet, milliseconds, observed };
  } finally {
    load.stop();
    operator.stop();
    clearInterval(display);
    fleet.killAll();
    await fleet.stop();
  }
}

/** A folder with these handlers, so that the processes of one database may have different ones. */
function handlersFolder(folder: string, names: string[]): string {
  const path = join(folder, `handlers-${names.join('-')}`);
  mkdirSync(path, { recursive: true });
  for (const name of names) {
    const { href } = new URL(`handlers/${name}.ts`, import.meta.url);
    writeFileSync(join(path, `${name}.mjs`), `export * from ${JSON.stringify(href)};\n`);
  }
  return path;
}
