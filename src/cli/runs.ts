import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { progressOn } from '../progress.ts';
import { type Context, defineCommand, exits, UsageError } from './command.ts';

/** Between two looks at an erasure. Milliseconds. */
const LOOK_MS = 500;

export const command = defineCommand({
  name: 'run',
  summary: 'Export a run as lines of JSON, or erase the texts of a closed run',
  usage: 'export RUN [--out FILE] | erase RUN',
  counts: { least: 2, most: 2 },
  options: { out: { type: 'string' } },
  words: ['export', 'erase'],
  help: `  --out FILE     exports into FILE, which appears when it is whole; without it to stdout
Ctrl-C ends both: an export leaves no file, and the service goes on with an erasure that has begun.`,
  async run(context, [act = '', run = ''], { out }) {
    if (act === 'export') return exportRun(context, run, out);
    if (act === 'erase') return eraseRun(context, run);
    throw new UsageError(`forumbus run does export or erase, not ${act}.`);
  },
});

async function exportRun({ client, stdout, stderr }: Context, run: string, out: string | undefined): Promise<number> {
  const partial = out && `${out}.partial`;
  const target = partial ? createWriteStream(partial, { flags: 'wx', mode: 0o600 }) : stdout;
  const progress = progressOn(stderr);
  let lines = 0;
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort(new UsageError('The export was interrupted.'));
  process.once('SIGINT', interrupt);
  try {
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

async function eraseRun({ client, stderr, print }: Context, run: string): Promise<number> {
  const progress = progressOn(stderr);
  const began = performance.now();
  try {
    while (!(await client.runs.erase(run))) {
      progress.show(() => `erasing for ${Math.round((performance.now() - began) / 1000)} s`);
      await pause(LOOK_MS);
    }
  } finally {
    progress.end();
  }
  await print(`The texts of ${run} are erased.`, { run_id: run, erased: true });
  return exits.done;
}

/** Resolves once the text may be followed by more; a slow reader holds the export back. @throws the error of the stream */
function written(stream: NodeJS.WritableStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, error => (error ? reject(error) : resolve()));
  });
}
