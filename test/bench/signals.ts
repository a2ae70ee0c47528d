import type { BareRound } from './bare.ts';
import type { Bench } from './bench.ts';
import { type Load, median, percentile, type Round, signalRound } from './closed-loop.ts';
import type { Mix } from './load.ts';
import type { Subject } from './processes.ts';
import { ms, rate } from './report.ts';

/** How many signals the bare statements are taken from, by size of the bench. */
const RECORDED = { quick: 300, full: 4000 };

interface Measured {
  service: Round[];
  noStore: Round[];
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
  const recorded = String(options.quick ? RECORDED.quick : RECORDED.full);
  const bare: Record<Mix, Subject> = {
    mixed: await processes.worker('./bare.ts', [folder, 'mixed', recorded]),
    completions: await processes.worker('./bare.ts', [folder, 'completions', recorded]),
  };
  const seconds = options.quick ? 0.5 : 4;
  // The code is compiled by then.
  await signalRound([noStore], { connections: 64, mix: 'mixed', seconds }, false);
  for (const service of Object.values(services)) {
    await signalRound([service], { connections: 64, mix: 'mixed', seconds }, true);
  }
  for (const [connections, mix, handler] of loads) {
    const load = { connections, mix, seconds };
    const measured = await measure(bench, load, { service: services[handler], noStore, bare: bare[mix] });
    print(bench, load, handler, measured);
  }
  for (const subject of [...Object.values(services), noStore, ...Object.values(bare)]) await processes.stop(subject);
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
  { service, noStore, bare }: Record<keyof Measured, Subject>,
): Promise<Measured> {
  const measured: Measured = { service: [], noStore: [], bare: [] };
  for (let round = 0; round < rounds; round += 1) {
    measured.noStore.push(await signalRound([noStore], { ...load, seconds: load.seconds / 2 }, false));
    measured.service.push(await signalRound([service], load, true));
    const answer = bare.message<BareRound>();
    bare.tell({ group: load.connections });
    measured.bare.push(await answer);
  }
  return measured;
}

function print(
  { report }: Bench,
  { connections, mix }: Load,
  handler: Handler,
  { service, noStore, bare }: Measured,
): void {
  const dispatched = median(service.map(round => round.dispatched));
  const floor = median(noStore.map(round => round.answered));
  const statements = median(bare.map(round => round.rate));
  const handled = handler === 'none' ? '' : ', with a handler';
  const name = `${connections} connection${connections === 1 ? '' : 's'}, ${mix}${handled}`;
  report.row(name, `${rate(dispatched)} dispatched`, [
    { floor: 'without a store', figure: rate(floor), ratio: dispatched / floor },
    { floor: `bare statements, ${connections} per commit`, figure: rate(statements), ratio: dispatched / statements },
  ]);
  const answered = median(service.map(round => round.answered));
  report.row('', `${rate(answered)} answered`, [
    { floor: 'without a store', figure: rate(floor), ratio: answered / floor },
  ]);
  if (connections === 64 && mix === 'mixed') {
    const target = `a: signals/s at 64 connections${handled}, of those without a store`;
    report.target(target, dispatched / floor, { atLeast: 0.3 });
  }
  if (connections === 1) printLatency(report, service, noStore, bare);
}

function printLatency(report: Bench['report'], service: Round[], noStore: Round[], bare: BareRound[]): void {
  const at = (rounds: Round[], share: number) => median(rounds.map(({ took }) => percentile(took, share)));
  const sum = at(noStore, 0.5) + median(bare.map(round => round.groupMs));
  report.row('', `p50 ${ms(at(service, 0.5))}`, [
    { floor: 'without a store + one commit', figure: ms(sum), ratio: at(service, 0.5) / sum },
  ]);
  report.row('', `p99 ${ms(at(service, 0.99))}`, [
    { floor: 'without a store', figure: ms(at(noStore, 0.99)), ratio: at(service, 0.99) / at(noStore, 0.99) },
  ]);
  report.target('a: p50 at 1 connection, by the sum of its floors', at(service, 0.5) / sum, { atMost: 1.3 });
}
