import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { type Get, hundredth, type Latency, latency, overSocket } from './measure.ts';
import { BIG_SNAPSHOT, type Read, readsOf, WIDE_SNAPSHOT } from './reads.ts';
import { ensureSeeded } from './seed.ts';

/*
 * How long the reads take on SQLite with 100,000 threads and 1,000,000 events: the first and the hundredth page of each
 * list, in process and over a loopback connection that is kept open. Prints a table, the worst p99, and what a run's
 * snapshot with 100,000 signals costs against one of as many agents with few, which should be near 1.
 *
 *   node test/bench/forum.ts <file> [--only=<part of a name>]    seeds the file if it is not there
 *   node test/bench/forum.ts --small                             a hundredth of everything, in a temporary folder
 */

/** A row of the table. */
interface Measured {
  read: Read;
  /** Rows of the hundredth page; null if there is none. */
  limit: number | null;
  times: Record<'inside' | 'insideDeep' | 'socket' | 'socketDeep', Latency | null>;
}

const small = process.argv.includes('--small');
const only = process.argv.find(argument => argument.startsWith('--only='))?.slice('--only='.length) ?? '';
const [given] = process.argv.slice(2).filter(argument => !argument.startsWith('--'));
if (!small && !given) throw new Error('Name the file that holds the forum, or is to be seeded.');
const folder = given ? undefined : await mkdtemp(join(tmpdir(), 'forumbus-bench-'));
const file = given ?? join(folder as string, 'bench.db');
await ensureSeeded(file, small ? 0.01 : 1);

const config = readConfig({ DATABASE_URL: `sqlite:${file}`, ROLE: 'http', PORT: '0' });
const app = await buildApp(config, pino({ level: 'silent' }));
await app.listen({ host: '127.0.0.1', port: 0 });
const inside: Get = async url => {
  const response = await app.inject(url);
  if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode} ${response.body}`);
  return response.body;
};
const { port } = app.server.address() as { port: number };
const socket = overSocket(`http://127.0.0.1:${port}`);

print(line('p50 / p99 in ms', ['first', 'hundredth', 'socket first', 'socket hundredth'], 'rows'));
const rows: Measured[] = [];
for (const read of readsOf(file).filter(({ name }) => name.includes(only))) {
  const row = await measured(read);
  rows.push(row);
  const { times } = row;
  const cells = [times.inside, times.insideDeep, times.socket, times.socketDeep].map(cell);
  print(line(read.name, cells, row.limit === null ? '' : String(row.limit)));
}
summarise(rows);
socket.close();
await app.close();
if (folder) await rm(folder, { recursive: true });

async function measured(read: Read): Promise<Measured> {
  const deep = read.isList ? await hundredth(inside, read.url) : undefined;
  const times = {
    inside: await latency(inside, read.url),
    insideDeep: deep ? await latency(inside, deep.url) : null,
    socket: await latency(socket.get, read.url),
    socketDeep: deep ? await latency(socket.get, deep.url) : null,
  };
  return { read, limit: deep?.limit ?? null, times };
}

function summarise(all: Measured[]): void {
  const p99s = all.flatMap(({ read, times }) =>
    Object.values(times).flatMap(time => (time ? [{ name: read.name, p99: time.p99 }] : [])),
  );
  const worst = p99s.sort((a, b) => b.p99 - a.p99)[0];
  if (worst) print(`worst p99: ${worst.p99.toFixed(1)} ms (${worst.name})`);
  const median = (name: string) => all.find(({ read }) => read.name === name)?.times.inside?.p50;
  const [big, wide] = [median(BIG_SNAPSHOT), median(WIDE_SNAPSHOT)];
  if (big && wide) print(`snapshot of a run with many signals against one with few: ${(big / wide).toFixed(2)}`);
}

function cell(time: Latency | null): string {
  return time ? `${time.p50.toFixed(1)} / ${time.p99.toFixed(1)}` : '';
}

function line(name: string, cells: string[], limit: string): string {
  return `${name.padEnd(46)}${cells.map(text => text.padStart(18)).join('')}${limit.padStart(6)}`;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
