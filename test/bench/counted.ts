import { statSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { emptyPostgres } from '../helpers/scratch.ts';
import type { Bench } from './bench.ts';
import { signalRound } from './closed-loop.ts';
import type { HandlerName } from './processes.ts';

/*
 * What one signal takes from the database. A service of its own counts, so that nothing that is timed is slowed down by it.
 * The database is new, and holds what was counted only.
 */

/** Of each signal. */
interface Taken {
  statements: number;
  commits: number;
  /** Pages appended to the write-ahead log (SQLite), or written into it as a whole (PostgreSQL). */
  pages: number;
  /** Bytes of the write-ahead log. */
  log: number;
  /** Bytes by which the database grows. */
  growth: number;
}

/** A page of SQLite's write-ahead log, with its header. Bytes. */
const FRAME = 4096 + 24;

interface Counted {
  key: string;
  databaseUrl: string;
  handler: HandlerName;
  /** Bytes and pages of the log so far; SQLite's pages are counted by the service. */
  logOf?: () => Promise<{ bytes: number; pages: number }>;
  /** Bytes of the database, once the service has stopped. */
  size: () => Promise<number>;
  /** The same without a signal. */
  empty: number;
}

export async function countedOnSqlite(bench: Bench): Promise<void> {
  const empty = sizeOf(join(bench.folder, 'bare-mixed-empty.db'));
  for (const handler of ['none', 'empty'] as const) {
    const file = join(bench.folder, `counted-${handler}.db`);
    const size = async () => sizeOf(file);
    await count(bench, { key: 'a', databaseUrl: `sqlite:${file}`, handler, size, empty });
  }
}

export async function countedOnPostgres(bench: Bench, server: string): Promise<void> {
  for (const handler of ['none', 'empty'] as const) {
    const { url: databaseUrl, drop } = await emptyPostgres(server);
    const client = new pg.Client(databaseUrl);
    await client.connect();
    const numbers = async (query: string): Promise<number[]> => {
      const { rows } = await client.query({ text: query, rowMode: 'array' });
      return (rows[0] ?? []).map(Number);
    };
    const size = async () => (await numbers('select pg_database_size(current_database())'))[0] as number;
    const logOf = async () => {
      const [bytes = 0, pages = 0] = await numbers('select wal_bytes, wal_fpi from pg_stat_wal');
      return { bytes, pages };
    };
    const migrating = await bench.processes.service({ name: 'migrates', databaseUrl, handler });
    await bench.processes.stop(migrating);
    await count(bench, { key: 'f', databaseUrl, handler, logOf, size, empty: await size() });
    await client.end();
    await drop();
  }
}

async function count(bench: Bench, { key, databaseUrl, handler, logOf, size, empty }: Counted): Promise<void> {
  const { processes, report, options } = bench;
  const logged = await logOf?.();
  const service = await processes.service({ name: `(${key}) counts`, databaseUrl, handler, counts: true });
  const before = await service.counts();
  const round = await signalRound([service], { connections: 64, mix: 'mixed', seconds: options.quick ? 1 : 8 }, true);
  const after = await service.counts();
  await processes.stop(service);
  const each = (later: number, earlier = 0) => (later - earlier) / round.count;
  // PostgreSQL's statistics are complete once the connections are closed.
  const log = await logOf?.();
  const pages = log ? each(log.pages, logged?.pages) : each(after.pages, before.pages);
  const taken: Taken = {
    statements: each(after.statements, before.statements),
    commits: each(after.commits, before.commits),
    pages,
    log: log ? each(log.bytes, logged?.bytes) : pages * FRAME,
    growth: each(await size(), empty),
  };
  const name = handler === 'none' ? 'mixed' : 'mixed, with a handler of every event';
  const kibibytes = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;
  report.row(
    `a signal takes: 64 connections, ${name}`,
    `${taken.statements.toFixed(1)} statements, ${taken.commits.toFixed(3)} commits`,
  );
  report.row('', `${taken.pages.toFixed(2)} ${log ? 'whole pages' : 'pages'}, ${kibibytes(taken.log)} of log`);
  report.row('', `${kibibytes(taken.growth)} of the database`);
  const prefix = `${key}.counted${handler === 'none' ? '' : ' handled'}`;
  for (const [what, value] of Object.entries(taken)) {
    report.record(`${prefix}.${what}`, [value], what === 'log' || what === 'growth' ? 'bytes' : '');
  }
}

function sizeOf(file: string): number {
  return statSync(file).size;
}
