import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import type { Forumbus } from '../client/index.ts';
import { makeFolder, OWN_FOLDER } from '../make-folder.ts';
import { UsageError } from './command.ts';

const PAGE = 200;

/** What became of a run: its archive, which has its events up to a sequence, or nothing because its texts were gone. */
export type Archived = { file: string; up_to: number } | 'erased before';

/**
 * The name of a run's archive. A name that file systems could change, or confuse with another one, gets the hash of the
 * run's name. `Run/7` becomes `run-7-90be6eb10ae42e85`.
 */
export function archiveName(run_id: string): string {
  const isSafe = /^[a-z0-9][a-z0-9@._+-]{0,99}$/.test(run_id) && !/[.]$|-[0-9a-f]{16}$/.test(run_id);
  if (isSafe) return `${run_id}.ndjson.gz`;
  const words = run_id.toLowerCase().match(/[a-z0-9]+/g) ?? ['run'];
  const hash = createHash('sha256').update(run_id).digest('hex').slice(0, 16);
  return `${words.join('-').slice(0, 48)}-${hash}.ndjson.gz`;
}

/**
 * Writes a closed run into its archive, which appears when it is whole and on the disk. What it has can be erased then.
 * @param show told of the lines that were written
 * @throws UsageError for a run that is open, or another file in the place of its archive
 */
export async function archiveRun(
  client: Forumbus,
  run_id: string,
  folder: string,
  { signal, show }: { signal: AbortSignal; show: (lines: number) => void },
): Promise<Archived> {
  const { status, erased_at } = await client.runs.get(run_id, { signal });
  if (erased_at !== null) return 'erased before';
  if (status !== 'closed') throw new UsageError(`The run ${run_id} is not closed; \`forumbus run close\` closes it.`);
  const file = join(folder, archiveName(run_id));
  try {
    makeFolder(folder, OWN_FOLDER);
    await assertOwn(file, run_id);
    return await write(client, run_id, file, { signal, show });
  } catch (error) {
    const { syscall, code } = error as NodeJS.ErrnoException;
    throw syscall ? new UsageError(`The archive ${file} cannot be written (${code}).`) : error;
  }
}

async function write(
  client: Forumbus,
  run_id: string,
  file: string,
  { signal, show }: { signal: AbortSignal; show: (lines: number) => void },
): Promise<Archived> {
  const partial = `${file}.${randomBytes(6).toString('hex')}.partial`;
  try {
    const up_to = await exportTo(client, run_id, partial, signal, show);
    // An erasure that began during the export has left texts out of it.
    if ((await client.runs.get(run_id, { signal })).erased_at !== null) return 'erased before';
    await rename(partial, file);
    // Windows flushes names by itself, and opens no folder.
    if (process.platform !== 'win32') await flush(dirname(file), 'r');
    return { file, up_to };
  } finally {
    await rm(partial, { force: true });
  }
}

/** The runs that were closed before a time and are not erased, the oldest first. @param before epoch milliseconds */
export async function closedBefore(client: Forumbus, before: number, signal: AbortSignal): Promise<string[]> {
  const erased = new Set<string | null>();
  for await (const { run_id } of eventsOf(client, 'forum.run.erased', signal)) erased.add(run_id);
  const closed: string[] = [];
  for await (const { run_id, occurred_at } of eventsOf(client, 'forum.run.closed', signal)) {
    if (run_id !== null && !erased.has(run_id) && Date.parse(occurred_at) < before) closed.push(run_id);
  }
  return closed;
}

async function* eventsOf(client: Forumbus, event_type: string, signal: AbortSignal) {
  let cursor: string | undefined;
  do {
    const page = await client.log.list(
      { event_type, limit: PAGE, ...(cursor !== undefined && { cursor }) },
      { signal },
    );
    yield* page.items;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

/** Exports a run into a new file, and reads that again. @returns the sequence up to which it has events */
async function exportTo(
  client: Forumbus,
  run_id: string,
  file: string,
  signal: AbortSignal,
  show: (lines: number) => void,
): Promise<number> {
  let up_to = 0;
  const written = createHash('sha256');
  async function* lines(): AsyncGenerator<string> {
    let count = 0;
    for await (const line of client.exportRun(run_id, { signal })) {
      if (line.type === 'run') up_to = Number(line.up_to);
      const text = `${JSON.stringify(line)}\n`;
      written.update(text);
      count += 1;
      show(count);
      yield text;
    }
  }
  const target = createWriteStream(file, { flags: 'wx', mode: 0o600 });
  await pipeline(Readable.from(lines()), createGzip(), target, { signal });
  await flush(file, 'r+');
  const read = createHash('sha256');
  await pipeline(createReadStream(file), createGunzip(), read, { signal });
  // The stream of a hash ends with the hash.
  if (!written.digest().equals(read.read())) throw new UsageError(`The file ${file} is not what was written into it.`);
  return up_to;
}

/** An earlier archive of the same run may be replaced: its texts were not erased then. @throws UsageError */
async function assertOwn(file: string, run_id: string): Promise<void> {
  const source = createReadStream(file);
  const unpacked = createGunzip();
  source.on('error', error => unpacked.destroy(error));
  try {
    for await (const line of createInterface({ input: source.pipe(unpacked) })) {
      if (JSON.parse(line).run?.run_id === run_id) return;
      break;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
  } finally {
    source.destroy();
  }
  throw new UsageError(`The file ${file} is no archive of the run ${run_id}; move it away.`);
}

/** Flushes a file, or the entries of a folder, to disk. Windows flushes only what is open for writing. */
async function flush(path: string, flags: 'r' | 'r+'): Promise<void> {
  const handle = await open(path, flags);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
