import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cliKills } from './cli.ts';
import { figures } from './figures.ts';
import { type Options, readOptions, usage } from './options.ts';
import type { Proof } from './proof.ts';
import { prove } from './proofs.ts';
import { Progress, printFigures, printProofs } from './report.ts';
import { run } from './run.ts';
import { openStore, type Store } from './store.ts';
import { upgrade } from './upgrade.ts';
import { webhookStorm } from './webhooks.ts';

/*
 * Kills, stops and cuts off real processes under load, and then reads the database to see whether anything was lost,
 * doubled, overtaken or counted wrong. Exits with 0 if nothing was.
 */

/** What a shell calls a program that was ended with Ctrl-C. */
const INTERRUPTED = 130;

const progress = new Progress();
const interrupted = new AbortController();
endOrderly();
let allHold = true;
for (const options of optionsOrUsage()) {
  if (!interrupted.signal.aborted) allHold = (await verify(options)) && allHold;
}
process.exit(interrupted.signal.aborted ? INTERRUPTED : allHold ? 0 : 1);

/** Verifies one engine. Answers whether all claims hold; keeps what the run has left if they do not. */
async function verify(options: Options): Promise<boolean> {
  const { seconds, kills, engine, processes, lanes, clients, seed, endpoints, events, rate } = options;
  const many = processes > 1 && !options.cli && !options.upgrade && !options.webhooks;
  progress.say(`${engine === 'sqlite' ? 'SQLite' : 'PostgreSQL'}, ${many ? `${processes} processes` : 'one process'}`);
  if (options.upgrade) progress.say('the upgrade of a database of the previous release');
  else if (options.cli) progress.say(`${kills} questions by the command line, each with a kill (--seed ${seed})`);
  else if (options.webhooks) {
    progress.say(`${events} events to ${endpoints} webhooks, ${rate} a second, then ${kills} kills (--seed ${seed})`);
  } else
    progress.say(`${clients} clients in ${lanes} lanes for ${seconds} s, ${kills} kills and stops (--seed ${seed})`);
  const folder = await mkdtemp(join(tmpdir(), 'forumbus-verify-'));
  let store: Store | undefined;
  let holds = false;
  try {
    store = await openStore(engine, folder, options.hostile);
    const kind = options.cli ? cliKills : options.webhooks ? webhookStorm : options.upgrade ? upgrade : load;
    const { proofs, table } = await kind(options, store, folder, progress, interrupted.signal);
    printFigures(table);
    printProofs(proofs);
    holds = proofs.every(proof => proof.faults.length === 0);
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
  return holds;
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

function optionsOrUsage(): Options[] {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    process.exit(2);
  }
}
