import { join } from 'node:path';
import { startPostgres } from '../helpers/postgres-server.ts';
import { emptyPostgres } from '../helpers/scratch.ts';
import type { Bench } from './bench.ts';
import { STUCK } from './child.ts';
import { type Round, sendAll, signalRound } from './closed-loop.ts';
import { type Drained, drain } from './drain.ts';
import { ensureHistory, seedHistory } from './history.ts';
import { type Idle, idleRound } from './idle.ts';
import { messageRequest } from './load.ts';
import { median, percentile } from './median.ts';
import { agedReads } from './reads-of-history.ts';
import { beside, ms, rate } from './report.ts';
import { copyStuck, removeStuck } from './stuck.ts';

/** Sent messages are kept, however old they are. */
const KEEP = { OUTBOX_RETENTION_HOURS: '0' };
/** The head of the stuck messages fails again and again, and never for good. */
const FAIL_OFTEN = { BACKOFF_BASE_MS: '50', BACKOFF_CAP_MS: '50', MAX_ATTEMPTS: '1000' };

/** With a long history, and without one. */
interface Pair<T> {
  aged: T[];
  empty: T[];
}

/** Where the databases of an engine are. */
interface Ground {
  /** Begins the names of the figures. */
  section: 'd.' | 'd.postgres ';
  /** URL of the database with the history. */
  aged: string;
  /** URL of an empty one. */
  empty: () => Promise<string>;
}

/** (d) What (a), (b) and (c) come to with a long history, against an empty database. */
export async function aged(bench: Bench): Promise<void> {
  const { report, options } = bench;
  const share = options.quick ? 0.01 : 1;
  report.section('(d) with a long history against an empty database, on SQLite');
  await agedOn(bench, await onSqlite(bench, share), share);
  report.section('(d) with a long history against an empty database, on PostgreSQL, with fsync');
  await agedOn(bench, await onPostgres(bench, share), share);
}

async function onSqlite({ options, folder }: Bench, share: number): Promise<Ground> {
  const file = options.history ?? join(folder, 'history.db');
  await ensureHistory(file, share);
  // Of a run that was interrupted.
  await removeStuck(`sqlite:${file}`);
  let made = 0;
  const empty = async () => {
    made += 1;
    return `sqlite:${join(folder, `d-${made}.db`)}`;
  };
  return { section: 'd.', aged: `sqlite:${file}`, empty };
}

async function onPostgres({ cleanups }: Bench, share: number): Promise<Ground> {
  const starting = startPostgres({ durable: true });
  cleanups.push(async () => (await starting).remove());
  const server = await starting;
  const empty = async () => (await emptyPostgres(server.url)).url;
  const aged = await empty();
  await seedHistory(aged, share);
  return { section: 'd.postgres ', aged, empty };
}

async function agedOn(bench: Bench, ground: Ground, share: number): Promise<void> {
  await signalsAged(bench, ground);
  await drainsAged(bench, ground, 'dispatches', { share, stuck: 0 });
  const short = await ground.empty();
  await idleAged(bench, ground, short);
  await agedReads(bench, { aged: ground.aged, short }, ground.section);
  // In the end: on PostgreSQL its vacuum would take the dead rows away that the others have left and meet.
  await drainsAged(bench, ground, 'dispatches behind a failing head', { share, stuck: 100_000 * share });
}

async function signalsAged(bench: Bench, ground: Ground): Promise<void> {
  const { processes, options, rounds } = bench;
  const start = (name: string, databaseUrl: string) => processes.service({ name, databaseUrl, env: KEEP });
  const subjects = {
    aged: await start('(d) history', ground.aged),
    empty: await start('(d) empty', await ground.empty()),
  };
  const load = { connections: 64, mix: 'mixed', seconds: options.quick ? 1 : 5 } as const;
  const measured: Pair<Round> = { aged: [], empty: [] };
  // The first round is for the code to be compiled.
  for (let round = 0; round <= rounds; round += 1) {
    for (const which of ['empty', 'aged'] as const) {
      const done = await signalRound([subjects[which]], load, true);
      if (round > 0) measured[which].push(done);
    }
  }
  for (const which of ['empty', 'aged'] as const) await processes.stop(subjects[which]);
  compare(bench, ground, 'signals, 64 connections', measured, ({ dispatched }) => dispatched);
}

async function drainsAged(
  bench: Bench,
  ground: Ground,
  what: string,
  { share, stuck }: { share: number; stuck: number },
): Promise<void> {
  const measured: Pair<Drained> = { aged: [], empty: [] };
  const setup = { messages: 10_000 * Math.max(share, 0.2), warm: 2000 * Math.max(share, 0.2), keys: 500 };
  const env = { ...KEEP, ...FAIL_OFTEN };
  for (let round = 0; round < bench.rounds; round += 1) {
    measured.empty.push(await drain(bench, { ...setup, env, name: '(d) empty', databaseUrl: await ground.empty() }));
    if (stuck > 0) await addStuck(bench, ground.aged, stuck);
    const leaves = stuck > 0;
    measured.aged.push(await drain(bench, { ...setup, env, leaves, name: '(d) history', databaseUrl: ground.aged }));
    if (stuck > 0) await removeStuck(ground.aged);
  }
  compare(bench, ground, what, measured, ({ dispatched }) => dispatched);
}

/** Two messages with one key are published, and the second is copied: what stands behind a head that will fail. */
async function addStuck({ processes }: Bench, databaseUrl: string, count: number): Promise<void> {
  const env = { ...KEEP, ...FAIL_OFTEN, ROLE: 'http' };
  const service = await processes.service({ name: '(d) history', databaseUrl, env });
  await sendAll(service.port, 1, [messageRequest(STUCK, STUCK, 0), messageRequest(STUCK, STUCK, 1)]);
  await processes.stop(service);
  await copyStuck(databaseUrl, count);
}

async function idleAged(bench: Bench, ground: Ground, short: string): Promise<void> {
  const measured: Pair<Idle> = { aged: [], empty: [] };
  const setup = { env: KEEP, signals: bench.options.quick ? 100 : 300 };
  for (let round = 0; round < bench.rounds; round += 1) {
    measured.empty.push(await idleRound(bench, { ...setup, name: '(d) empty', databaseUrl: short }));
    measured.aged.push(await idleRound(bench, { ...setup, name: '(d) history', databaseUrl: ground.aged }));
  }
  const p50 = (rounds: Idle[]) => rounds.map(({ afterRequest }) => percentile(afterRequest, 0.5));
  const [before, now] = [p50(measured.empty), p50(measured.aged)];
  bench.report.row('from the request to the handler, p50', ms(now), [beside('empty', before, now, ms)]);
  // A speed is more when the time is less.
  const { ratios } = beside('', now, before, ms);
  keep(bench, ground, 'speed from the request to the handler', ratios, median(before) / median(now));
}

function compare<T>(
  bench: Bench,
  ground: Ground,
  what: string,
  { aged, empty }: Pair<T>,
  figure: (one: T) => number,
): void {
  const [before, now] = [empty.map(figure), aged.map(figure)];
  const comparison = beside('empty', before, now, rate);
  bench.report.row(what, rate(now), [comparison]);
  keep(bench, ground, what, comparison.ratios, median(now) / median(before));
}

function keep({ report }: Bench, { section }: Ground, what: string, ratios: readonly number[], of: number): void {
  const name = `${section}${what}, of an empty database`;
  report.record(name, ratios, '');
  report.target(name.replace('.', ': '), of, { atLeast: 0.95 });
}
