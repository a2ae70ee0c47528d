import type { BareRound } from './bare.ts';
import type { Bench } from './bench.ts';
import { type Load, type Round, signalRound } from './closed-loop.ts';
import { countedOnSqlite } from './counted.ts';
import type { Mix } from './load.ts';
import { median, percentile } from './median.ts';
import type { Subject } from './processes.ts';
import { beside, ms, rate, us } from './report.ts';
import { type UsedRound, usedRound } from './used-round.ts';

/** How many signals the bare statements are taken from, by size of the bench. */
const RECORDED = { quick: 300, full: 4000 };

interface Measured {
  service: UsedRound[];
  noStore: UsedRound[];
  plain: Round[];
  bare: BareRound[];
}

/** (a) Signals per second over HTTP until all are dispatched, without a handler and with one of every event. */
export async function signals(bench: Bench): Promise<void> {
  const { processes, report, options, folder } = bench;
  report.section('(a) signals over HTTP, while dispatch keeps up');
  const services = {
    none: await processes.service({ name: '(a) SQLite', databaseUrl: `sqlite:${folder}/a.db`, handler: 'none' }),
    empty: await processes.service({ name: '(a) with a handler', databaseUrl: `sqlite:${folder}/a-handled.db` }),
  };
  const noStore = await processes.listener('./no-store.ts');
  const plain = await processes.listener('./plain.ts');
  const recorded = String(options.quick ? RECORDED.quick : RECORDED.full);
  const bare: Record<Mix, Subject> = {
    mixed: await processes.worker('./bare.ts', [folder, 'mixed', recorded]),
    completions: await processes.worker('./bare.ts', [folder, 'completions', recorded]),
  };
  const seconds = options.quick ? 0.5 : 4;
  // The code is compiled by then.
  for (const floor of [noStore, plain]) await signalRound([floor], { connections: 64, mix: 'mixed', seconds }, false);
  for (const service of Object.values(services)) {
    await signalRound([service], { connections: 64, mix: 'mixed', seconds }, true);
  }
  for (const [connections, mix, handler] of loads) {
    const load = { connections, mix, seconds };
    const measured = await measure(bench, load, { service: services[handler], noStore, plain, bare: bare[mix] });
    print(bench, load, handler, measured);
  }
  for (const subject of [...Object.values(services), noStore, plain, ...Object.values(bare)]) {
    await processes.stop(subject);
  }
  await countedOnSqlite(bench);
}

/** The handler of every event: none, as the service comes, or an empty one. */
type Handler = 'none' | 'empty';

const loads: [number, Mix, Handler][] = [
  [1, 'mixed', 'none'],
  [16, 'mixed', 'none'],
  [64, 'mixed', 'none'],
  [256, 'mixed', 'none'],
  [64, 'completions', 'none'],
  [64, 'mixed', 'empty'],
  [64, 'completions', 'empty'],
];

async function measure(
  { rounds }: Bench,
  load: Load,
  { service, noStore, plain, bare }: Record<keyof Measured, Subject>,
): Promise<Measured> {
  const measured: Measured = { service: [], noStore: [], plain: [], bare: [] };
  const half = { ...load, seconds: load.seconds / 2 };
  for (let round = 0; round < rounds; round += 1) {
    measured.plain.push(await signalRound([plain], half, false));
    measured.noStore.push(await usedRound([noStore], half, { dispatch: false }));
    measured.service.push(await usedRound([service], load));
    const answer = bare.message<BareRound>();
    bare.tell({ group: load.connections });
    measured.bare.push(await answer);
  }
  return measured;
}

function print({ report }: Bench, { connections, mix }: Load, handler: Handler, measured: Measured): void {
  const { service, noStore, plain, bare } = measured;
  const dispatched = service.map(round => round.dispatched);
  const floor = noStore.map(round => round.answered);
  const bottom = plain.map(round => round.answered);
  const statements = bare.map(round => round.rate);
  const handled = handler === 'none' ? '' : ', with a handler';
  const name = `${connections} connection${connections === 1 ? '' : 's'}, ${mix}${handled}`;
  report.row(name, `${rate(dispatched)} dispatched`, [
    beside('without a store', floor, dispatched, rate),
    beside('Fastify alone', bottom, dispatched, rate),
    beside(`bare statements, ${connections} per commit`, statements, dispatched, rate),
  ]);
  const answered = service.map(round => round.answered);
  report.row('', `${rate(answered)} answered`, [beside('without a store', floor, answered, rate)]);
  const cpu = service.map(round => round.cpu);
  const floorCpu = noStore.map(round => round.cpu);
  report.row('', `CPU ${us(cpu)}`, [beside('without a store', floorCpu, cpu, us)]);
  report.row('', `written ${bytes(service.map(round => round.written))}`);

  const key = `a.${connections} ${mix}${handler === 'none' ? '' : ' handled'}`;
  report.record(`${key}.rate`, dispatched, '/s');
  report.record(`${key}.without a store`, floor, '/s');
  report.record(`${key}.Fastify alone`, bottom, '/s');
  report.record(`${key}.bare statements`, statements, '/s');
  report.record(`${key}.cpu`, cpu, 'µs');
  report.record(`${key}.cpu without a store`, floorCpu, 'µs');
  report.record(
    `${key}.written`,
    service.map(round => round.written),
    'bytes',
  );
  if (connections === 64 && mix === 'mixed') {
    const target = `a: signals/s at 64 connections${handled}, of those without a store`;
    report.target(target, median(dispatched) / median(floor), { atLeast: 0.3 });
  }
  if (connections === 1) printLatency(report, key, measured);
}

function printLatency(report: Bench['report'], key: string, { service, noStore, bare }: Measured): void {
  const at = (rounds: Round[], share: number) => rounds.map(({ took }) => percentile(took, share));
  const p50 = at(service, 0.5);
  const floors = at(noStore, 0.5).map((took, round) => took + (bare[round] as BareRound).groupMs);
  report.row('', `p50 ${ms(p50)}`, [beside('without a store + one commit', floors, p50, ms)]);
  report.row('', `p99 ${ms(at(service, 0.99))}`, [beside('without a store', at(noStore, 0.99), at(service, 0.99), ms)]);
  report.record(`${key}.p50`, p50, 'ms');
  report.record(`${key}.p50 of its floors`, floors, 'ms');
  report.target('a: p50 at 1 connection, by the sum of its floors', median(p50) / median(floors), { atMost: 1.3 });
}

function bytes(values: readonly number[]): string {
  return Number.isNaN(median(values)) ? 'unknown' : `${(median(values) / 1024).toFixed(1)} KiB`;
}
