import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import type { Bench } from './bench.ts';
import { STUCK } from './child.ts';
import { type Round, sendAll, signalRound } from './closed-loop.ts';
import { type Drained, drain } from './drain.ts';
import { ensureHistory } from './history.ts';
import { type Idle, idleRound } from './idle.ts';
import { messageRequest } from './load.ts';
import { median, percentile } from './median.ts';
import { agedReads } from './reads-of-history.ts';
import { beside, ms, rate } from './report.ts';

/** Sent messages are kept, however old they are. */
const KEEP = { OUTBOX_RETENTION_HOURS: '0' };
/** The head of the stuck messages fails again and again, and never for good. */
const FAIL_OFTEN = { BACKOFF_BASE_MS: '50', BACKOFF_CAP_MS: '50', MAX_ATTEMPTS: '1000' };

/** With a long history, and without one. */
interface Pair<T> {
  aged: T[];
  empty: T[];
}

/** (d) What (a), (b) and (c) come to with a long history, against an empty database. */
export async function aged(bench: Bench): Promise<void> {
  const { report, options, folder } = bench;
  const share = options.quick ? 0.01 : 1;
  report.section('(d) with a long history against an empty database, on SQLite');
  const file = options.history ?? join(folder, 'history.db');
  await ensureHistory(file, share);
  // Of a run that was interrupted.
  removeStuck(file);
  await signalsAged(bench, file);
  await drainsAged(bench, file, 'dispatches', { share, stuck: 0 });
  await drainsAged(bench, file, 'dispatches behind a failing head', { share, stuck: 100_000 * share });
  await idleAged(bench, file);
  await agedReads(bench, file);
}

async function signalsAged(bench: Bench, file: string): Promise<void> {
  const { processes, options, folder, rounds } = bench;
  const start = (name: string, path: string) => processes.service({ name, databaseUrl: `sqlite:${path}`, env: KEEP });
  const subjects = { aged: await start('(d) history', file), empty: await start('(d) empty', `${folder}/d.db`) };
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
  compare(bench, 'signals, 64 connections', measured, ({ dispatched }) => dispatched);
}

async function drainsAged(
  bench: Bench,
  file: string,
  what: string,
  { share, stuck }: { share: number; stuck: number },
): Promise<void> {
  const measured: Pair<Drained> = { aged: [], empty: [] };
  const setup = { messages: 10_000 * Math.max(share, 0.2), warm: 2000 * Math.max(share, 0.2), keys: 500 };
  const env = { ...KEEP, ...FAIL_OFTEN };
  for (let round = 0; round < bench.rounds; round += 1) {
    const empty = join(bench.folder, `d-${stuck}-${round}.db`);
    measured.empty.push(await drain(bench, { ...setup, env, name: '(d) empty', databaseUrl: `sqlite:${empty}` }));
    if (stuck > 0) await addStuck(bench, file, stuck);
    const leaves = stuck > 0;
    measured.aged.push(
      await drain(bench, { ...setup, env, leaves, name: '(d) history', databaseUrl: `sqlite:${file}` }),
    );
    if (stuck > 0) removeStuck(file);
  }
  compare(bench, what, measured, ({ dispatched }) => dispatched);
}

/** Two messages with one key are published, and the second is copied: what stands behind a head that will fail. */
async function addStuck({ processes }: Bench, file: string, count: number): Promise<void> {
  const env = { ...KEEP, ...FAIL_OFTEN, ROLE: 'http' };
  const service = await processes.service({ name: '(d) history', databaseUrl: `sqlite:${file}`, env });
  await sendAll(service.port, 1, [messageRequest(STUCK, STUCK, 0), messageRequest(STUCK, STUCK, 1)]);
  await processes.stop(service);
  const db = new BetterSqlite(file, { timeout: 60_000 });
  const columnsOf = (table: string) =>
    (db.pragma(`table_info(${table})`) as { name: string }[]).map(({ name }) => name);
  const ofMessage = columnsOf('messages').filter(name => name !== 'number' && name !== 'message_id');
  const others = columnsOf('deliveries').filter(name => name !== 'position' && name !== 'message_number');
  const last = db.prepare('select max(position) from deliveries where topic = ?').pluck().get(STUCK);
  const message = db.prepare(
    `insert into messages (message_id, ${ofMessage}) select message_id || '-' || cast(? as integer), ${ofMessage}
     from messages where number = (select message_number from deliveries where position = ?)`,
  );
  const copy = db.prepare(
    `insert into deliveries (message_number, ${others}) select ?, ${others} from deliveries where position = ?`,
  );
  db.transaction(() => {
    for (let number = 0; number < count; number += 1) copy.run(message.run(number, last).lastInsertRowid, last);
  })();
  db.close();
}

function removeStuck(file: string): void {
  const db = new BetterSqlite(file, { timeout: 60_000 });
  db.prepare('delete from deliveries where topic = ?').run(STUCK);
  db.prepare('delete from messages where topic = ?').run(STUCK);
  db.close();
}

async function idleAged(bench: Bench, file: string): Promise<void> {
  const { options, folder, rounds, report } = bench;
  const measured: Pair<Idle> = { aged: [], empty: [] };
  const signals = options.quick ? 100 : 300;
  for (let round = 0; round < rounds; round += 1) {
    for (const [which, path] of [
      ['empty', `${folder}/d-idle.db`],
      ['aged', file],
    ] as const) {
      const setup = { name: which === 'aged' ? '(d) history' : '(d) empty', databaseUrl: `sqlite:${path}`, env: KEEP };
      measured[which].push(await idleRound(bench, { ...setup, signals }));
    }
  }
  const p50 = (rounds: Idle[]) => rounds.map(({ afterRequest }) => percentile(afterRequest, 0.5));
  const [before, now] = [p50(measured.empty), p50(measured.aged)];
  report.row('from the request to the handler, p50', ms(now), [beside('empty', before, now, ms)]);
  const speed = median(before) / median(now);
  report.target('d: speed from the request to the handler, of an empty database', speed, { atLeast: 0.9 });
}

function compare<T>(bench: Bench, what: string, { aged, empty }: Pair<T>, figure: (one: T) => number): void {
  const [before, now] = [empty.map(figure), aged.map(figure)];
  const comparison = beside('empty', before, now, rate);
  bench.report.row(what, rate(now), [comparison]);
  bench.report.record(`d.${what}, of an empty database`, comparison.ratios, '');
  bench.report.target(`d: ${what}, of those of an empty database`, median(now) / median(before), { atLeast: 0.9 });
}
