import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { ForumbusError, isPassing } from '../client/index.ts';
import { progressOn } from '../progress.ts';
import { type Archived, archiveRun, closedBefore } from './archive.ts';
import { type Context, defineCommand, exits, UsageError } from './command.ts';
import { secondsOf } from './duration.ts';
import { oneLine, written } from './output.ts';

/** Archives of a run to which events were added meanwhile. */
const ATTEMPTS = 5;
/** Between two looks at an erasure. Milliseconds. */
const LOOK_MS = 500;

export const command = defineCommand({
  name: 'run',
  summary: 'Close a run, export it as lines of JSON, erase the texts of a closed run, or do both',
  usage:
    'close RUN | export RUN [--out FILE] | erase RUN | archive RUN… --to FOLDER | archive --closed-before 90d --to FOLDER',
  counts: { least: 1, most: Number.POSITIVE_INFINITY },
  options: { out: { type: 'string' }, to: { type: 'string' }, 'closed-before': { type: 'string' } },
  words: ['close', 'export', 'erase', 'archive'],
  help: `\`close\` ends a run whose gate is ready: it takes no signal any more.
  --out FILE            exports into FILE, which appears when it is whole; without it to stdout
  --to FOLDER           archives each closed run into FOLDER as a compressed export, and then erases its texts
  --closed-before TIME  archives all runs that were closed longer ago, such as 90d
Ctrl-C ends them: an export leaves no file, an archive none that is not whole, and the service goes on with an erasure that
has begun. \`forumbus import\` reads exports and archives.`,
  async run(context, [act = '', ...runs], { out, to, 'closed-before': age }) {
    if (act === 'archive') return archive(context, runs, to, age);
    const [run] = runs;
    if (act !== 'close' && act !== 'export' && act !== 'erase')
      throw new UsageError(`forumbus run does close, export, erase or archive, not ${act}.`);
    if (run === undefined || runs.length > 1) throw new UsageError(`forumbus run ${act} takes one run.`);
    if (act === 'close') return closeRun(context, run);
    return act === 'export' ? exportRun(context, run, out) : eraseRun(context, run);
  },
});

/** A run that cannot be archived does not stop the others. @throws UsageError, ForumbusError if none can be any more */
async function archive(context: Context, given: string[], to: string | undefined, age: string | undefined) {
  const { client, stderr, print, tell } = context;
  if (to === undefined || (given.length === 0) === (age === undefined))
    throw new UsageError('forumbus run archive needs --to FOLDER, and runs or --closed-before.');
  const interrupted = new AbortController();
  const { signal } = interrupted;
  const interrupt = () => interrupted.abort(new UsageError('The archiving was interrupted; repeat it to go on.'));
  process.once('SIGINT', interrupt);
  const progress = progressOn(stderr);
  let code: number = exits.done;
  try {
    const seconds = age === undefined ? 0 : secondsOf('closed-before', age);
    const runs = age === undefined ? given : await closedBefore(client, Date.now() - seconds * 1000, signal);
    for (const [index, run] of runs.entries()) {
      signal.throwIfAborted();
      const at = `${index + 1} of ${runs.length}`;
      try {
        const show = (lines: number) => progress.show(() => `${at}: ${lines} lines of ${oneLine(run)}`);
        const once = async (): Promise<Archived> => {
          const archived = await archiveRun(client, run, to, { signal, show });
          if (archived !== 'erased before') await erase(context, run, progress, { signal, up_to: archived.up_to });
          return archived;
        };
        const archived = await untilUnchanged(run, once);
        progress.end();
        if (archived === 'erased before') await print(`${oneLine(run)}: erased before`, { run_id: run, file: null });
        else await print(`${oneLine(run)}: ${archived.file}`, { run_id: run, file: archived.file });
      } catch (error) {
        const isOfRun = error instanceof UsageError || (error instanceof ForumbusError && !isPassing(error));
        if (signal.aborted) throw signal.reason;
        if (!isOfRun) throw error;
        progress.end();
        tell(error.message);
        code = exits.refused;
      }
    }
    return code;
  } finally {
    process.off('SIGINT', interrupt);
    progress.end();
  }
}

async function closeRun({ client, print }: Context, run: string): Promise<number> {
  const { run_id, status } = await client.close(run);
  await print(`The run ${oneLine(run_id)} is closed.`, { run_id, status });
  return exits.done;
}

/** Repeats what was refused because the run has gone on: a discussion may do so after the close. @throws UsageError */
async function untilUnchanged<T>(run: string, act: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof ForumbusError && error.code === 'RUN_CHANGED')) throw error;
      if (attempt === ATTEMPTS) throw new UsageError(`The run ${run} goes on changing; try again later.`);
    }
  }
}

async function exportRun({ client, stdout, stderr }: Context, run: string, out: string | undefined): Promise<number> {
  const partial = out && `${out}.partial`;
  const target = partial ? createWriteStream(partial, { flags: 'wx', mode: 0o600 }) : stdout;
  const progress = progressOn(stderr);
  let lines = 0;
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort(new UsageError('The export was interrupted.'));
  process.once('SIGINT', interrupt);
  try {
    // It is told where it is written as well.
    if (partial)
      await once(
        target.on('error', () => {}),
        'open',
      );
    for await (const line of client.exportRun(run, { signal: interrupted.signal })) {
      await written(target, `${JSON.stringify(line)}\n`);
      lines += 1;
      progress.show(() => `${lines} lines`);
    }
    if (partial && out) {
      await new Promise<void>((resolve, reject) => {
        target.once('error', reject);
        target.end(() => resolve());
      });
      await rename(partial, out);
    }
  } catch (error) {
    // A file that was there before is not ours.
    const isOthers = (error as NodeJS.ErrnoException).code === 'EEXIST';
    if (partial && !isOthers) await rm(partial, { force: true });
    if (isOthers) throw new UsageError(`There is a file ${partial} of another export; delete it.`);
    throw error;
  } finally {
    process.off('SIGINT', interrupt);
    progress.end();
  }
  return exits.done;
}

async function eraseRun(context: Context, run: string): Promise<number> {
  const progress = progressOn(context.stderr);
  try {
    await erase(context, run, progress);
  } finally {
    progress.end();
  }
  await context.print(`The texts of ${run} are erased.`, { run_id: run, erased: true });
  return exits.done;
}

/** Resolves once no text of the run is left. @throws the reason of `signal`; the service goes on */
async function erase(
  { client }: Context,
  run: string,
  progress: ReturnType<typeof progressOn>,
  { signal, up_to }: { signal?: AbortSignal; up_to?: number } = {},
): Promise<void> {
  const began = performance.now();
  while (!(await client.runs.erase(run, { signal, up_to }))) {
    progress.show(() => `erasing for ${Math.round((performance.now() - began) / 1000)} s`);
    await pause(LOOK_MS, undefined, { signal });
  }
}
