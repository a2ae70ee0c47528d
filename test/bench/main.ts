import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { against } from './against.ts';
import { aged } from './aged.ts';
import type { Bench } from './bench.ts';
import { dispatches } from './dispatches.ts';
import { draw } from './documents.ts';
import { FIGURES, mergeFigures, readFigures, writeFigures } from './figures.ts';
import { idle } from './idle.ts';
import { machine } from './machine.ts';
import { usedMemory } from './memory.ts';
import { type Options, readOptions, type Section, sections, usage } from './options.ts';
import { Processes } from './processes.ts';
import { Report, say } from './report.ts';
import { shared } from './shared.ts';
import { signals } from './signals.ts';
import { waiting } from './waiting.ts';

/*
 * How fast the service is, each figure beside a floor that was measured in the same minutes: machines are noisy, and a
 * ratio says more than a figure. Floor and subject take turns; what is printed are medians of three rounds, with the least
 * and the most in brackets. Every service is a real `node src/main.ts`, or the package.
 */

/** Longer than this the bench hangs. Milliseconds. */
const PATIENCE_MS = 90 * 60_000;
/** What a shell calls a program that was ended with Ctrl-C. */
const INTERRUPTED = 130;

const work: Record<Section, (bench: Bench) => Promise<void>> = {
  a: signals,
  b: dispatches,
  c: idle,
  d: aged,
  e: usedMemory,
  f: shared,
  g: waiting,
};

const options = optionsOrUsage();
if (options.charts) {
  draw(readFigures(options.figures ?? FIGURES));
  process.exit(0);
}
const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'forumbus-bench-'));
const processes = new Processes(folder, options.logLevel);
const report = new Report();
const cleanups: Bench['cleanups'] = [];
const interrupted = Promise.withResolvers<never>();
// More than once: what is to be removed must not be left because somebody is impatient.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.reject(INTERRUPTED));
const late = setTimeout(() => interrupted.reject(new Error('The bench takes too long.')), PATIENCE_MS);

let code = 0;
try {
  await Promise.race([run(), processes.failed, interrupted.promise]);
} catch (error) {
  code = error === INTERRUPTED ? INTERRUPTED : 1;
  if (code === 1) process.stderr.write(`The bench failed: ${await reasonOf(error)}\n`);
}
clearTimeout(late);
await processes.close();
for (const cleanup of cleanups.reverse()) await cleanup().catch(() => {});
await rm(folder, { recursive: true, force: true });
process.exit(code);

async function run(): Promise<void> {
  const where = machine(folder);
  say(where);
  const bench: Bench = { options, processes, report, folder, rounds: options.quick ? 1 : 3, cleanups };
  if (options.against !== undefined) return against(bench, options.against);
  for (const section of sections) if (options.only.has(section)) await work[section](bench);
  report.summary();
  if (options.figures !== undefined) keepFigures(options.figures, where);
}

function keepFigures(file: string, machine: string): void {
  const origin = { at: new Date().toISOString(), machine: machine.split('\n')[0] as string, rough: options.quick };
  const measured = Object.fromEntries([...options.only].map(section => [section, origin]));
  const figures = mergeFigures(readFigures(file), { measured, figures: report.figures });
  writeFigures(file, figures);
  say(`\nThe figures are in ${file}.`);
  if (file === FIGURES) draw(figures);
}

/** A process that has ended is the better reason than the connection that broke with it. */
async function reasonOf(error: unknown): Promise<string | undefined> {
  const ended = await Promise.race([processes.failed.catch((reason: Error) => reason.message), delay(500)]);
  return ended ?? (error instanceof Error ? error.stack : String(error));
}

function optionsOrUsage(): Options {
  try {
    return readOptions(process.argv.slice(2), FIGURES);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    process.exit(2);
  }
}
