import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Clients } from './clients.ts';
import { wrongClocks } from './clocks.ts';
import { type Done, disrupt } from './disruption.ts';
import { Fleet } from './fleet.ts';
import { Notes } from './notes.ts';
import { countOpen, type Observed, readStore } from './observe.ts';
import type { Options } from './options.ts';
import { seeded } from './random.ts';
import type { Progress } from './report.ts';
import type { Store } from './store.ts';

const HANDLERS_DIR = fileURLToPath(new URL('handlers', import.meta.url));

export interface Run {
  load: Clients;
  done: Done;
  fleet: Fleet;
  observed: Observed;
  milliseconds: number;
}

/** Sends, breaks, waits until every message has come to its end, and answers what there is to see then. */
export async function run(
  options: Options,
  store: Store,
  folder: string,
  progress: Progress,
  interrupted: AbortSignal,
): Promise<Run> {
  const { signals, kills, processes, leaseMs, seed, hostile } = options;
  // Generous for a slow machine, and an end for a run that is stuck.
  const deadline = AbortSignal.timeout(60_000 + signals * 60 + kills * (leaseMs * 3 + 10_000));
  const failure = new AbortController();
  const cancelled = AbortSignal.any([deadline, failure.signal, interrupted]);

  const path = join(folder, 'notes.jsonl');
  const notes = new Notes(path);
  const settings = { PORT: '0', LEASE_MS: String(leaseMs), BACKOFF_BASE_MS: '100', BACKOFF_CAP_MS: '1000' };
  const clocks = hostile ? wrongClocks() : undefined;
  if (hostile && !clocks) progress.say('libfaketime is not installed, so all clocks are right');
  const env = { ...settings, DATABASE_URL: store.url, HANDLERS_DIR, VERIFY_NOTES: path };
  const misbehaving = hostile ? { VERIFY_HOSTILE: '1' } : {};
  const fleet = new Fleet(folder, started => ({ ...env, ...misbehaving, ...clocks?.(started) }), cancelled);
  const load = new Clients(options, fleet, seeded(seed));
  const share = () => (load.acknowledged.length + notes.handled.size) / (2 * signals);
  const show = () => {
    notes.read();
    progress.show(share(), `${load.acknowledged.length}/${signals} acknowledged, ${notes.handled.size} handled`);
  };
  let display: NodeJS.Timeout | undefined;
  try {
    await Promise.all(Array.from({ length: processes }, () => fleet.start()));
    const begun = performance.now();
    display = setInterval(show, 50);
    const work = [
      load.run(),
      disrupt({
        options,
        fleet,
        store,
        random: seeded(seed + 1),
        progress: share,
        allow: part => load.allow(Math.ceil(part * signals)),
        cancelled,
        say: line => progress.say(line),
      }),
    ] as const;
    // One that fails must not leave the other waiting for it.
    for (const part of work) part.catch(error => failure.abort(error));
    const [, done] = await Promise.all(work);
    while ((await countOpen(store)) > 0 && !cancelled.aborted) await delay(50);
    const milliseconds = performance.now() - begun;
    await fleet.stop();
    show();

    const { acknowledged, sent, wrong } = load;
    const seen = { acknowledged, sent, wrong, unexpected: fleet.unexpected, notes: notes.all };
    return { load, done, fleet, milliseconds, observed: { ...seen, ...(await readStore(store)) } };
  } finally {
    clearInterval(display);
    fleet.killAll();
    await fleet.stop();
  }
}
