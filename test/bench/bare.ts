import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { pino } from 'pino';
import { buildApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { type Mix, newLoad } from './load.ts';
import { median } from './median.ts';
import { type Ran, recordStatements } from './recording.ts';

/*
 * The second floor: the statements that the service runs to take a signal, in bare better-sqlite3, in one process without
 * HTTP, with several signals per transaction. The statements are written down while the service itself takes signals one
 * by one, and run again, with the same parameters, on a copy of the file from before: nothing has to be amended here when
 * they change. (If the service runs them where this process cannot see them, this fails.)
 *
 *   node test/bench/bare.ts <folder> <mixed or completions> <signals>
 *
 * Then, for each message {group}, answers {signals per second, median of what a group takes in milliseconds}.
 */

export interface BareRound {
  rate: number;
  groupMs: number;
}

const [folder = '.', mix = 'mixed', count = '1000'] = process.argv.slice(2);
const empty = join(folder, `bare-${mix}-empty.db`);
const file = join(folder, `bare-${mix}.db`);

await withService(empty, async () => {});
copyFileSync(empty, file);
const signals = await record(Number(count));

// The channel keeps this process alive, and its end is the end.
process.on('message', ({ group }: { group: number }) => process.send?.(replay(group)));
process.send?.('ready');

/** The statements of each signal. */
async function record(count: number): Promise<Ran[][]> {
  const recorded: Ran[][] = [];
  await withService(file, async send => {
    const [next] = newLoad(1, mix as Mix) as [() => string];
    const ended = recordStatements();
    for (let number = 0; number < count; number += 1) {
      const request = next();
      await send(request.slice(request.indexOf('\r\n\r\n') + 4));
      recorded.push(ended());
    }
  });
  const writes = recorded.filter(statements => statements.some(({ text }) => /^\s*insert into "?events"?/i.test(text)));
  if (writes.length < count) throw new Error('The service took signals whose statements were not seen.');
  return recorded;
}

async function withService(
  path: string,
  work: (send: (body: string) => Promise<void>) => Promise<void>,
): Promise<void> {
  const config = readConfig({ DATABASE_URL: `sqlite:${path}`, ROLE: 'http' });
  const app = await buildApp(config, pino({ level: 'silent' }));
  await app.ready();
  await work(async payload => {
    const headers = { 'content-type': 'application/json' };
    const answer = await app.inject({ method: 'POST', url: '/control-signals', headers, payload });
    if (answer.statusCode !== 201) throw new Error(`The service answered ${answer.statusCode} ${answer.body}`);
  });
  await app.close();
}

function replay(group: number): BareRound {
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
  copyFileSync(empty, file);
  const db = new BetterSqlite(file);
  // As src/db/sqlite/database.ts opens it.
  for (const pragma of ['journal_mode = WAL', 'synchronous = FULL', 'foreign_keys = ON', 'temp_store = MEMORY']) {
    db.pragma(pragma);
  }
  const prepared = new Map<string, BetterSqlite.Statement>();
  const run = ({ text, parameters }: Ran) => {
    const statement = prepared.get(text) ?? db.prepare(text);
    prepared.set(text, statement);
    if (statement.reader) statement.all(...parameters);
    else statement.run(...parameters);
  };
  const took: number[] = [];
  const began = performance.now();
  for (let from = 0, before = began; from < signals.length; from += group) {
    db.exec('begin immediate');
    for (const statements of signals.slice(from, from + group)) statements.forEach(run);
    db.exec('commit');
    const now = performance.now();
    took.push(now - before);
    before = now;
  }
  const seconds = (performance.now() - began) / 1000;
  db.close();
  return { rate: signals.length / seconds, groupMs: median(took) };
}
