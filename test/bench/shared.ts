import { availableParallelism } from 'node:os';
import { type PostgresServer, startPostgres } from '../helpers/postgres-server.ts';
import { emptyPostgres } from '../helpers/scratch.ts';
import { account, ratesOfRounds } from './accounting.ts';
import type { Bench } from './bench.ts';
import { countedOnPostgres } from './counted.ts';
import { type Drained, drain } from './drain.ts';
import { limited } from './limited.ts';
import type { Mix } from './load.ts';
import { median } from './median.ts';
import { namesOf, type Peer, peerRound, peersAreInstalled, peersHint, ratesOf, recordPeers } from './peers.ts';
import type { HandlerName, Subject } from './processes.ts';
import { beside, type Comparison, rate } from './report.ts';
import { type UsedRound, usedRound } from './used-round.ts';

const CONNECTIONS = 64;
/** Two services, the server and the client want a core each. */
const CORES_FOR_TWO = 4;

/** Services without a handler only store, as a queue that takes jobs; the others also dispatch every event. */
type Services = Record<'none' | 'one' | 'two', Subject[]>;

interface SignalLoad {
  services: keyof Services;
  mix: Mix;
  /** Of its figures. */
  key: string;
  text: string;
}

const loads: SignalLoad[] = [
  { services: 'none', mix: 'completions', key: 'f.64 completions', text: 'completions, no handler' },
  { services: 'none', mix: 'mixed', key: 'f.64 mixed', text: 'signals, no handler' },
  { services: 'one', mix: 'mixed', key: 'f.signals', text: 'signals, one process' },
  { services: 'two', mix: 'mixed', key: 'f.signals of two processes', text: 'signals, two processes' },
];

interface Measured {
  /** By the key of the load. */
  signals: Record<string, UsedRound[]>;
  /** By the number of processes. */
  drained: Record<1 | 2, Drained[]>;
  peers: Peer[];
}

/** (f) Signals and dispatches on PostgreSQL, with one process and with two. */
export async function shared(bench: Bench): Promise<void> {
  bench.report.section(`(f) on PostgreSQL, with fsync, ${CONNECTIONS} connections`);
  const starting = startPostgres({ durable: true });
  bench.cleanups.push(async () => (await starting).remove());
  const server = await starting;
  const services = await startAll(bench, server);
  const pid = await server.pid();
  const seconds = bench.options.quick ? 1 : 4;
  const load = (mix: Mix) => ({ connections: CONNECTIONS, mix, seconds });
  // The code is compiled by then.
  for (const subjects of Object.values(services)) await usedRound(subjects, load('mixed'));
  const measured: Measured = { signals: {}, drained: { 1: [], 2: [] }, peers: [] };
  for (let round = 0; round < bench.rounds; round += 1) {
    for (const { services: which, mix, key } of loads) {
      measured.signals[key] ??= [];
      measured.signals[key].push(await usedRound(services[which], load(mix), { server: pid }));
    }
    for (const processes of [1, 2] as const) {
      const { url: databaseUrl } = await emptyPostgres(server.url);
      measured.drained[processes].push(await drainShared(bench, databaseUrl, processes));
    }
    if (peersAreInstalled()) {
      const messages = bench.options.quick ? 2000 : 10_000;
      measured.peers.push(...(await peerRound(bench, ['pg-boss'], { messages, round, postgresUrl: server.url })));
    }
  }
  printSignals(bench, measured);
  printDispatches(bench, measured);
  recordPeers(bench.report, 'f', measured.peers);
  if (measured.peers.length === 0) bench.report.note(peersHint);
  await limited(bench, services, load('mixed'), pid);
  for (const subject of Object.values(services).flat()) await bench.processes.stop(subject);
  await countedOnPostgres(bench, server.url);
}

async function startAll({ processes }: Bench, server: PostgresServer): Promise<Services> {
  const start = async (count: number, handler: HandlerName) => {
    const { url: databaseUrl } = await emptyPostgres(server.url);
    const service = () => processes.service({ name: '(f) PostgreSQL', databaseUrl, handler });
    return Promise.all(Array.from({ length: count }, service));
  };
  return { none: await start(1, 'none'), one: await start(1, 'empty'), two: await start(2, 'empty') };
}

function drainShared(bench: Bench, databaseUrl: string, processes: number): Promise<Drained> {
  const share = bench.options.quick ? 0.2 : 1;
  const setup = { messages: 20_000 * share, warm: 4000 * share, keys: 0, processes };
  return drain(bench, { ...setup, name: '(f) PostgreSQL', databaseUrl });
}

function printSignals({ report }: Bench, { signals, peers }: Measured): void {
  const of = (key: string) => ratesOfRounds(signals[key] ?? []);
  for (const { services, key, text } of loads) {
    const rates = of(key);
    const enqueued = against(peers, 'enqueues_per_s', rates);
    report.row(
      text,
      rate(rates),
      services === 'two' ? [beside('one process', of('f.signals'), rates, rate)] : enqueued,
    );
    account(report, key, signals[key] ?? []);
    if (services !== 'none') continue;
    // To take a job is to store it alone.
    for (const { ratios, floor } of enqueued) {
      report.target(`f: ${text}, of the enqueues/s of ${floor}`, median(ratios), { atLeast: 1.2 });
    }
  }
  const ofServer = median((signals['f.64 completions'] ?? []).map(({ serverCpu }) => serverCpu));
  if (Number.isFinite(ofServer)) {
    report.target('f: CPU of the server for a completion', ofServer, { atMost: 200 }, { unit: ' µs' });
  }
  ofTwo(report, 'signals', of('f.signals'), of('f.signals of two processes'));
}

function printDispatches({ report }: Bench, { drained, peers }: Measured): void {
  const rates = (processes: 1 | 2) => drained[processes].map(({ dispatched }) => dispatched);
  const [one, two] = [rates(1), rates(2)];
  const dispatched = against(peers, 'dispatches_per_s', one);
  report.row('dispatches, one process', rate(one), dispatched);
  report.row('dispatches, two processes', rate(two), [beside('one process', one, two, rate)]);
  report.record('f.messages.rate', one, '/s');
  report.record('f.messages of two processes.rate', two, '/s');
  const published = drained[1].map(round => round.published);
  report.row('published over HTTP, one process', rate(published), against(peers, 'enqueues_per_s', published));
  report.record('f.published.rate', published, '/s');
  for (const { ratios, floor } of dispatched) {
    report.target(`f: dispatches/s, of those of ${floor}`, median(ratios), { atLeast: 1 });
  }
  ofTwo(report, 'dispatches', one, two);
}

function ofTwo(report: Bench['report'], name: string, one: number[], two: number[]): void {
  const cores = availableParallelism();
  const condition = cores < CORES_FOR_TWO ? `, says nothing with ${cores} cores` : '';
  const value = median(two) / median(one);
  report.target(`f: ${name} of two processes, of those of one`, value, { atLeast: 1.5 }, { condition });
}

function against(peers: Peer[], column: 'enqueues_per_s' | 'dispatches_per_s', figure: number[]): Comparison[] {
  return namesOf(peers).map(floor => beside(floor, ratesOf(peers, floor, column), figure, rate));
}
