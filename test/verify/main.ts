import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { figures } from './figures.ts';
import { type Options, readOptions, usage } from './options.ts';
import { type Proof, prove } from './proofs.ts';
import { Progress, printFigures, printProofs } from './report.ts';
import { run } from './run.ts';
import { openStore, type Store } from './store.ts';
import { upgrade } from './upgrade.ts';

/*
 * Kills, stops and cuts off real processes under load, and then reads the database to see whether anything was lost,
 * doubled or overtaken. Exits with 0 if nothing was.
 */

/** What a shell calls a program that was ended with Ctrl-C. */
const INTERRUPTED = 130;

const options = optionsOrUsage();
const { signals, kills, engine, processes, lanes, clients, seed } = options;
const progress = new Progress();
progress.say(
  options.upgrade
    ? 'the upgrade of a database of the previous release'
    : `${signals} signals from ${clients} clients in ${lanes} lanes, ${kills} kills and stops (--seed ${seed})`,
);
progress.say(
  `${engine === 'sqlite' ? 'SQLite' : 'PostgreSQL'}, ${processes === 1 ? 'one process' : `${processes} processes`}`,
);

const folder = await mkdtemp(join(tmpdir(), 'forumbus-verify-'));
const interrupted = new AbortController();
let store: Store | undefined;
let holds = false;
try {
  endOrderly();
  store = await openStore(engine, folder, options.hostile);
  holds = await verify(store);
} catch (error) {
  const reason = error instanceof Error && !interrupted.signal.aborted ? error.stack : error;
  progress.say(`The run did not come to its end: ${reason}`);
}
await store?.close();
if (holds || interrupted.signal.aborted) {
  await store?.remove();
  await rm(folder, { recursive: true, force: true });
} else {
  progress.say(`Kept for whoever looks into it: ${[folder, ...(store?.folders ?? [])].join(' ')}`);
}
process.exit(holds ? 0 : interrupted.signal.aborted ? INTERRUPTED : 1);

async function verify(store: Store): Promise<boolean> {
  const { proofs, table } = await (options.upgrade ? upgrade : load)(
    options,
    store,
    folder,
    progress,
    interrupted.signal,
  );
  printFigures(table);
  printProofs(proofs);
  return proofs.every(proof => proof.faults.length === 0);
}

async function load(...args: Parameters<typeof run>): Promise<{ proofs: Proof[]; table: ReturnType<typeof figures> }> {
  const done = await run(...args);
  return { proofs: prove(done.observed), table: figures(done) };
}

/** The first Ctrl-C cleans up, the second does not wait for that. */
function endOrderly(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      interrupted.abort(new Error('interrupted'));
      process.once(signal, () => process.exit(INTERRUPTED));
    });
  }
}

function optionsOrUsage(): Options {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    process.exit(2);
  }
}
