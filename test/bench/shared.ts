import { availableParallelism } from 'node:os';
import { type PostgresServer, startPostgres } from '../helpers/postgres-server.ts';
import { emptyPostgres } from '../helpers/scratch.ts';
import type { Bench } from './bench.ts';
import { countedOnPostgres } from './counted.ts';
import { type Drained, drain } from './drain.ts';
import { median } from './median.ts';
import { namesOf, type Peer, peerRound, peersAreInstalled, peersHint, ratesOf, recordPeers } from './peers.ts';
import { beside, type Comparison, rate, us } from './report.ts';
import { type UsedRound, usedRound } from './used-round.ts';

const CONNECTIONS = 64;
/** Two services, the server and the client want a core each. */
const CORES_FOR_TWO = 4;

/** By the number of processes: one, and two that share the database. */
interface Measured {
  signals: Record<1 | 2, UsedRound[]>;
  drained: Record<1 | 2, Drained[]>;
  peers: Peer[];
}

/** (f) Signals and dispatches on PostgreSQL, with one process and with two. */
export async function shared(bench: Bench): Promise<void> {
  bench.report.section('(f) on PostgreSQL, with fsync');
  const starting = startPostgres({ durable: true });
  bench.cleanups.push(async () => (await starting).remove());
  const server = await starting;
  const measured: Measured = { signals: { 1: [], 2: [] }, drained: { 1: [], 2: [] }, peers: [] };
  await signalsShared(bench, server, measured);
  for (let round = 0; round < bench.rounds; round += 1) {
    for (const processes of [1, 2] as const) {
      const { url: databaseUrl } = await emptyPostgres(server.url);
      measured.drained[processes].push(await drainShared(bench, databaseUrl, processes));
    }
    if (peersAreInstalled()) {
      const messages = bench.options.quick ? 2000 : 10_000;
      measured.peers.push(...(await peerRound(bench, ['pg-boss'], { messages, round, postgresUrl: server.url })));
    }
  }
  print(bench, measured);
  await countedOnPostgres(bench, server.url);
}

async function signalsShared(bench: Bench, server: PostgresServer, { signals }: Measured): Promise<void> {
  const { processes, rounds, options } = bench;
  const start = async (count: number) => {
    const { url: databaseUrl } = await emptyPostgres(server.url);
    const service = () => processes.service({ name: '(f) PostgreSQL', databaseUrl });
    return Promise.all(Array.from({ length: count }, service));
  };
  const subjects = { 1: await start(1), 2: await start(2) };
  const pid = await server.pid();
  const load = { connections: CONNECTIONS, mix: 'mixed', seconds: options.quick ? 1 : 4 } as const;
  // The first round is for the code to be compiled.
  for (let round = 0; round <= rounds; round += 1) {
    for (const count of [1, 2] as const) {
      const done = await usedRound(subjects[count], load, { server: pid });
      if (round > 0) signals[count].push(done);
    }
  }
  for (const subject of [...subjects[1], ...subjects[2]]) await processes.stop(subject);
}

function drainShared(bench: Bench, databaseUrl: string, processes: number): Promise<Drained> {
  const share = bench.options.quick ? 0.2 : 1;
  const setup = { messages: 20_000 * share, warm: 4000 * share, keys: 0, processes };
  return drain(bench, { ...setup, name: '(f) PostgreSQL', databaseUrl });
}

function print({ report }: Bench, { signals, drained, peers }: Measured): void {
  const cores = availableParallelism();
  const condition = cores < CORES_FOR_TWO ? `, says nothing with ${cores} cores` : '';
  const rates = {
    signals: (count: 1 | 2) => signals[count].map(({ dispatched }) => dispatched),
    messages: (count: 1 | 2) => drained[count].map(({ dispatched }) => dispatched),
  };
  const published = drained[1].map(round => round.published);
  for (const what of ['signals', 'messages'] as const) {
    const [one, two] = [rates[what](1), rates[what](2)];
    const name = what === 'signals' ? `signals, ${CONNECTIONS} connections` : 'dispatches';
    const column = what === 'messages' ? 'dispatches_per_s' : 'enqueues_per_s';
    report.row(`${name}, one process`, rate(one), against(peers, column, one));
    report.row(`${name}, two processes`, rate(two), [beside('one process', one, two, rate)]);
    report.target(
      `f: ${name} of two processes, of those of one`,
      median(two) / median(one),
      { atLeast: 1.5 },
      { condition },
    );
    report.record(`f.${what}.rate`, one, '/s');
    report.record(`f.${what} of two processes.rate`, two, '/s');
  }
  report.row('published over HTTP, one process', rate(published), against(peers, 'enqueues_per_s', published));
  report.record('f.published.rate', published, '/s');
  const cpu = signals[1].map(round => round.cpu);
  const serverCpu = signals[1].map(round => round.serverCpu);
  report.row('CPU of a signal: the service', us(cpu));
  report.row('CPU of a signal: the database server', us(serverCpu));
  report.record('f.signals.cpu', cpu, 'µs');
  report.record('f.signals.server cpu', serverCpu, 'µs');
  recordPeers(report, 'f', peers);
  if (peers.length === 0) report.note(peersHint);
  for (const { ratios, floor } of against(peers, 'enqueues_per_s', rates.signals(1)).slice(0, 1)) {
    report.target(`f: signals/s, of the enqueues/s of ${floor}`, median(ratios), { atLeast: 3 });
  }
  for (const { ratios, floor } of against(peers, 'dispatches_per_s', rates.messages(1)).slice(0, 1)) {
    report.target(`f: dispatches/s, of those of ${floor}`, median(ratios), { atLeast: 3 });
  }
}

function against(peers: Peer[], column: 'enqueues_per_s' | 'dispatches_per_s', figure: number[]): Comparison[] {
  return namesOf(peers).map(floor => beside(floor, ratesOf(peers, floor, column), figure, rate));
}
